package main

import (
	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/diag/outfile"
)

// writeFile writes a file whole or not at all.
func writeFile(path string, data []byte) error {
	target, err := outfile.Target(path)
	if err == nil {
		err = renameio.WriteFile(target, data, 0o644)
	}
	if err != nil {
		return diag.Errorf("file/write", diag.Pos{File: path}, "%v", err)
	}
	return nil
}
