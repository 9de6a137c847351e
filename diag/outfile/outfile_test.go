package outfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTarget(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(at("file"), nil, 0o600))
	must(os.Mkdir(at("folder"), 0o700))
	for from, to := range map[string]string{"link": "file", "twice": "link", "dangling": "new", "absolute": at("file"), "loop": "loop", "null": os.DevNull, "up": "folder"} {
		if err := os.Symlink(to, at(from)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	for name, want := range map[string]string{"file": "file", "none": "none", "link": "file", "twice": "file", "dangling": "new", "absolute": "file"} {
		if got, err := Target(at(name)); err != nil || got != at(want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"folder": "a folder", "up": "a folder", "null": "a device", "loop": "too many links"} {
		if got, err := Target(at(name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want an error with %q", name, got, err, want)
		}
	}
}
