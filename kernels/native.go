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
// Where it has none, its reference graph runs. A source that was generated for a spec of
// somebody's folder is in no library for the CPU.
func (s *Spec) RunsOn(target string) bool {
	if s.Code != nil {
		return target != "cpu" || !s.Generated || strings.HasPrefix(s.Source, builtin)
	}
	_, err := fs.Stat(NativeFiles(), s.Name+".cpp")
	return target == "cpu" && err == nil
}
