// Package kernels is the catalogue of fused kernels: what each computes, for
// which operands, and how it may differ from the MLX ops it stands for.
//
// A kernel is NAME.yaml, its spec, and NAME.metal, its source. The spec's reference is a
// graph in the language of rules; it defines the kernel. Result types are those of the
// reference, and where a target has no source, the reference is what runs
// ([Catalog.Expand]). A source that is left out can be made of the reference
// ([Catalog.Generate]), which package author does.
//
// A rule names kernels and never carries source. This package launches nothing
// and knows no rules.
package kernels
