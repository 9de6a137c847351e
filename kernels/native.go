package kernels

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed cpu
var native embed.FS

// NativeFiles are the interface by which host kernels are called (zmlx_kernel.h) and the
// bodies written for CPUs. They are data to Go, and compiled by scripts/build-kernels.sh.
func NativeFiles() fs.FS {
	sub, err := fs.Sub(native, "cpu")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	return sub
}

// RunsOn reports whether the kernel has a source for a target: "metal", "cuda" or "cpu".
// Where it has none, its reference graph runs. The library for the CPU has the embedded
// kernels only.
func (s *Spec) RunsOn(target string) bool {
	if target != "cpu" {
		return s.Code != nil
	}
	if !strings.HasPrefix(s.Source, builtin+"/") {
		return false
	}
	_, err := fs.Stat(NativeFiles(), s.Name+".cpp")
	return s.Code != nil || err == nil
}
