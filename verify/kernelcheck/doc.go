// Package kernelcheck shows that a kernel's source computes what its spec says, without
// a GPU: the source is checked as Metal with address spaces enforced (TypeCheck),
// compiled for NVIDIA (NVRTC), and run on the CPU with its threads, simdgroups and
// barriers, on many calls of the spec's domain, against the reference graph on
// engine/ref (Run). What passed is a certificate by content hash.
//
// A kernel fails if it touches memory outside of its operands, changes an input, leaves
// a result unwritten, depends on the order in which threads run, races, or is further
// from the truth than its contract allows. It proves nothing about speed, and nothing
// about a GPU's own arithmetic: for that the same cases run on the device.
package kernelcheck
