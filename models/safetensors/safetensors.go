// Package safetensors reads and writes safetensors files: single ones, models
// split over several with an index, and folders in the layout of Hugging Face.
//
// A header is taken as hostile. It must be one JSON object without repeated
// names; every tensor must have exactly the bytes that its dtype and shape call
// for; and the tensors together must cover the data area without a gap or an
// overlap. Anything else is refused with the offset. Element types that MLX does
// not have (float8, float4) are refused by name. Tensor data is memory-mapped
// and never copied here.
//
// Format: https://github.com/huggingface/safetensors
package safetensors

import (
	"zmlx-rewrite/diag"
	"zmlx-rewrite/models/weights"
)

// Open maps the file at path and returns its tensors, sorted by offset, and its
// metadata, which may be nil. Closing the store closes the file.
func Open(path string) (*weights.Store, map[string]string, error) {
	f, err := weights.Open(path)
	if err != nil {
		return nil, nil, err
	}
	s := weights.NewStore(f)
	meta, err := load(s, f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return s, meta, nil
}

// Parse does the same for a file that is in memory; name is for messages.
func Parse(name string, data []byte) (*weights.Store, map[string]string, error) {
	f := weights.Memory(name, data)
	s := weights.NewStore(f)
	meta, err := load(s, f)
	if err != nil {
		return nil, nil, err
	}
	return s, meta, nil
}

// load adds the tensors of f to s.
func load(s *weights.Store, f *weights.File) (meta map[string]string, err error) {
	h := header{name: f.Name()}
	if err := weights.Guard(func() error { h.read(f.Data()); return nil }, f); err != nil {
		return nil, err
	}
	if h.err != nil {
		return nil, h.err
	}
	data := f.Data()[h.data:]
	for _, e := range h.entries {
		t, err := weights.New(e.name, e.dtype, e.shape, weights.Raw(data[e.begin:e.end]), f)
		if err != nil {
			return nil, err
		}
		if err := s.Add(t); err != nil {
			return nil, diag.Errorf("safetensors/duplicate", diag.At(f.Name(), int64(e.at)), "tensor %q is also in another file of the model", e.name)
		}
	}
	return h.meta, nil
}
