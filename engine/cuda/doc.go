// Package cuda is NVIDIA's driver and compiler as package replay needs them: memory on one
// stream, kernels compiled from their source, and lists of launches as CUDA graphs. Both
// libraries are loaded when Open is called, so that a program built with this package runs
// anywhere. It needs cgo and Linux; Open says so elsewhere.
package cuda
