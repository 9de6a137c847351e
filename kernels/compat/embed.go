// Package compat holds the headers that present one subset of the Metal Shading
// Language as Metal, CUDA, host C++ and, for checking types, OpenCL; lib/ has what
// kernels share, written in the subset itself.
//
// It is data: package kernels puts the headers and a kernel's source together.
package compat

import "embed"

// FS has metal.h, cuda.h, host.h, opencl.h, and lib/*.h.
//
//go:embed *.h lib host
var FS embed.FS
