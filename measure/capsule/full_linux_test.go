package capsule

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk: on a disk that is full a capsule is not written, the error says so, and the
// one that was there is whole.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small file system cannot be mounted (it takes root): %v", err)
	}
	defer unix.Unmount(dir, 0)
	file := filepath.Join(dir, "c.json")
	c := sample()
	if err := c.Write(file); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for len(c.Notes) < 200 {
		c.Notes = append(c.Notes, strings.Repeat("a long note ", 100))
	}
	if err := c.Write(file); err == nil || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), "file/write") {
		t.Errorf("error %v", err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the old capsule was touched: %d bytes, %v", len(after), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
