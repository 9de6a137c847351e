package main

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/diag/outfile"
)

// writtenFile is a file that a command wrote, as JSON.
type writtenFile struct {
	File   string `json:"file" jsonschema:"that was written"`
	Bytes  int    `json:"bytes" jsonschema:"length of the file"`
	SHA256 string `json:"sha256" jsonschema:"of the file"`
}

// writeFile writes a file whole or not at all.
func writeFile(path string, data []byte) error {
	_, err := written(path, data)
	return err
}

// written writes a file whole or not at all, and says what is there now.
func written(path string, data []byte) (writtenFile, error) {
	target, err := outfile.Target(path)
	if err == nil {
		err = renameio.WriteFile(target, data, 0o644)
	}
	if err != nil {
		return writtenFile{}, diag.Errorf("file/write", diag.Pos{File: path}, "%v", err)
	}
	sum := sha256.Sum256(data)
	return writtenFile{path, len(data), hex.EncodeToString(sum[:])}, nil
}
