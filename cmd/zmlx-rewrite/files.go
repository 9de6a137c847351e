package main

import (
	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
)

// writeFile writes a file whole or not at all.
func writeFile(path string, data []byte) error {
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
		return diag.Errorf("file/write", diag.Pos{File: path}, "%v", err)
	}
	return nil
}
