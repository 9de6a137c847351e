package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestWritten: what a command says of a file that it wrote is so, also where a link leads to it.
func TestWritten(t *testing.T) {
	for _, data := range []string{"", "zmlx 1\n", "two\nlines\n"} {
		dir := t.TempDir()
		link := filepath.Join(dir, "link")
		if err := os.Symlink("file", link); err != nil {
			t.Skip(err) // rights that Windows asks for
		}
		for _, path := range []string{filepath.Join(dir, "file"), link} {
			got, err := written(path, []byte(data))
			if err != nil {
				t.Fatal(err)
			}
			there, err := os.ReadFile(filepath.Join(dir, "file"))
			if err != nil {
				t.Fatal(err)
			}
			want := writtenFile{path, len(there), fmt.Sprintf("%x", sha256.Sum256(there))}
			if got != want || string(there) != data {
				t.Errorf("%q: %+v, not %+v", data, got, want)
			}
		}
	}
	if got, err := written(t.TempDir(), nil); err == nil || got != (writtenFile{}) {
		t.Errorf("a folder: %+v, %v", got, err)
	}
}
