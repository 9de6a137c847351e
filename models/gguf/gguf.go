// Package gguf reads GGUF model files, versions 2 and 3, little-endian, and
// offers their tensors as MLX wants them.
//
// Quantized blocks of types Q4_0, Q4_1 and Q8_0 are MLX's affine quantization in
// another byte order (4 or 8 bits, groups of 32, float16 scales and biases), so
// they become packed weights, scales and biases without loss and without being
// quantized again; those of MXFP4 are MLX's mode of that name. F32, F16 and BF16 stay
// what they are. All other tensor types are refused by name.
//
// Files are taken as hostile: every count, length, offset, dimension and overlap
// is checked before it is used, and no more is allocated than the file has bytes
// to justify. MLX's own GGUF reader is never called; it crashes on such files.
//
// HF gives a file the names and the configuration of a Hugging Face checkpoint.
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
package gguf

import (
	"zmlx-rewrite/models/weights"
)

// File is an open GGUF file. Its metadata and tensor list are in memory, the
// tensor data is not.
type File struct {
	Version  uint32
	Metadata []KV     // in file order
	Tensors  []Tensor // in file order

	file  *weights.File
	byKey map[string]int
}

// Tensor describes one tensor of the file, as stored.
type Tensor struct {
	Name   string
	Type   Type
	Shape  []int // row-major: the reverse of the order in the file
	Offset int   // of the data, from the start of the file
	Size   int   // of the data, in bytes

	at int // where its description starts in the file
}

// Open maps the file at path and checks it.
func Open(path string) (*File, error) {
	m, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := parse(m)
	if err != nil {
		m.Close()
		return nil, err
	}
	return f, nil
}

// Parse checks a file that is in memory; name is for messages.
func Parse(name string, data []byte) (*File, error) { return parse(weights.Memory(name, data)) }

// Name returns the path of the file.
func (f *File) Name() string { return f.file.Name() }

// Close unmaps the file. Tensors of its stores cannot be read any more.
func (f *File) Close() error { return f.file.Close() }

// Get returns the metadata value of a key, and false if there is none.
func (f *File) Get(key string) (Value, bool) {
	i, ok := f.byKey[key]
	if !ok {
		return Value{}, false
	}
	return f.Metadata[i].Value, true
}
