package main

import (
	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

func importFile(path string) (*graph.Program, error) {
	return nil, diag.Errorf("mlxfn/import", diag.Pos{File: path}, "reading .mlxfn files is not built yet")
}

func (a *app) exportProgram(path string, p *graph.Program, catalog *kernels.Catalog, o *options) error {
	return diag.Errorf("mlxfn/export", diag.Pos{File: path}, "writing .mlxfn files is not built yet")
}
