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
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// maxHeader is the limit of the reference implementation.
const maxHeader = 100_000_000

// maxDims is NumPy's limit.
const maxDims = 64

const metadataKey = "__metadata__"

// dtypes has the element types that MLX has too, by their names in the format.
var dtypes = map[string]graph.DType{
	"BOOL": graph.Bool, "U8": graph.Uint8, "I8": graph.Int8, "U16": graph.Uint16, "I16": graph.Int16,
	"U32": graph.Uint32, "I32": graph.Int32, "U64": graph.Uint64, "I64": graph.Int64,
	"F16": graph.Float16, "BF16": graph.BFloat16, "F32": graph.Float32, "F64": graph.Float64, "C64": graph.Complex64,
}

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
	var h header
	var issue *diag.Issue
	if err := weights.Guard(func() error { issue = h.read(f.Name(), f.Data()); return nil }, f); err != nil {
		return nil, err
	}
	if issue != nil {
		return nil, issue
	}
	for _, e := range h.entries {
		t, err := weights.New(e.name, e.dtype, e.shape, weights.Raw(f.Data()[h.data+e.begin:h.data+e.end]), f)
		if err != nil {
			return nil, err
		}
		if err := s.Add(t); err != nil {
			return nil, diag.Errorf("safetensors/duplicate", diag.At(f.Name(), e.at), "tensor %q is also in another file of the model", e.name)
		}
	}
	return h.meta, nil
}

// header is the parsed header of a file.
type header struct {
	name    string
	meta    map[string]string
	entries []entry // sorted by begin
	data    int     // offset of the data area
	dec     *json.Decoder
}

type entry struct {
	name       string
	dtype      graph.DType
	shape      []int
	begin, end int // in the data area
	at         int64
}

// at is the offset in the file of what the decoder has read last.
func (h *header) at() int64 { return 8 + h.dec.InputOffset() }

func (h *header) fail(code, format string, args ...any) *diag.Issue {
	return diag.Errorf("safetensors/"+code, diag.At(h.name, h.at()), format, args...)
}

func (h *header) read(name string, data []byte) *diag.Issue {
	h.name = name
	if len(data) < 8 {
		return diag.Errorf("safetensors/truncated", diag.At(name, int64(len(data))), "%d bytes are no safetensors file", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	switch left := uint64(len(data) - 8); {
	case n > maxHeader:
		return diag.Errorf("safetensors/header", diag.At(name, 0), "a header of %d bytes; at most %d are allowed", n, maxHeader).
			WithHint("this may not be a safetensors file")
	case n > left:
		return diag.Errorf("safetensors/truncated", diag.At(name, 0), "a header of %d bytes, and the file has %d left", n, left).
			WithHint("the download may be incomplete: compare the file's size or sha256, and fetch it again")
	}
	text := data[8 : 8+n]
	if n == 0 || text[0] != '{' {
		return diag.Errorf("safetensors/header", diag.At(name, 8), "the header does not start with {").
			WithHint("this may not be a safetensors file")
	}
	if !utf8.Valid(text) {
		return diag.Errorf("safetensors/header", diag.At(name, 8), "the header is not UTF-8 text")
	}
	h.data = 8 + int(n)
	h.dec = json.NewDecoder(bytes.NewReader(text))
	h.dec.UseNumber()
	if issue := h.object(); issue != nil {
		return issue
	}
	if _, err := h.dec.Token(); err != io.EOF {
		return h.fail("header", "text after the header's object")
	}
	return h.checkCoverage(len(data) - h.data)
}

// token returns the next JSON token.
func (h *header) token() (json.Token, *diag.Issue) {
	t, err := h.dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, h.fail("header", "the header is not JSON: %v", err)
	}
	return t, nil
}

// expect reads one delimiter.
func (h *header) expect(d json.Delim, what string) *diag.Issue {
	t, issue := h.token()
	if issue == nil && t != d {
		issue = h.fail("header", "%s: expected %v, found %v", what, d, t)
	}
	return issue
}

// fields reads an object whose values each has to read.
func (h *header) fields(what string, each func(key string) *diag.Issue) *diag.Issue {
	if issue := h.expect('{', what); issue != nil {
		return issue
	}
	for {
		t, issue := h.token()
		if issue != nil {
			return issue
		}
		key, ok := t.(string)
		if !ok {
			return nil // the closing brace: the decoder lets nothing else through
		}
		if issue := each(key); issue != nil {
			return issue
		}
	}
}

// text reads a string value.
func (h *header) text(what string) (string, *diag.Issue) {
	t, issue := h.token()
	if issue != nil {
		return "", issue
	}
	s, ok := t.(string)
	if !ok {
		return "", h.fail("header", "%s: expected text, found %v", what, t)
	}
	return s, nil
}

// integers reads a list of at most maxDims whole numbers from 0 to the largest int.
func (h *header) integers(what string) ([]int, *diag.Issue) {
	if issue := h.expect('[', what); issue != nil {
		return nil, issue
	}
	out := []int{}
	for {
		t, issue := h.token()
		if issue != nil {
			return nil, issue
		}
		if t == json.Delim(']') {
			return out, nil
		}
		n, ok := t.(json.Number)
		x, err := strconv.ParseUint(string(n), 10, 64)
		if !ok || err != nil || x > math.MaxInt {
			return nil, h.fail("header", "%s: %v is not a whole number from 0 on", what, t)
		}
		if len(out) == maxDims {
			return nil, h.fail("header", "%s: more than %d numbers", what, maxDims)
		}
		out = append(out, int(x))
	}
}

func (h *header) object() *diag.Issue {
	seen := map[string]bool{}
	return h.fields("the header", func(name string) *diag.Issue {
		if seen[name] {
			return h.fail("duplicate", "%q is there twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			return h.metadata()
		}
		return h.tensor(name)
	})
}

func (h *header) metadata() *diag.Issue {
	h.meta = map[string]string{}
	return h.fields(metadataKey, func(key string) *diag.Issue {
		v, issue := h.text(metadataKey)
		if _, dup := h.meta[key]; dup && issue == nil {
			issue = h.fail("duplicate", "%s: %q is there twice", metadataKey, key)
		}
		h.meta[key] = v
		return issue
	})
}

func (h *header) tensor(name string) *diag.Issue {
	e := entry{name: name, dtype: graph.NoDType, at: h.at()}
	var offsets []int
	err := h.fields(name, func(key string) (issue *diag.Issue) {
		dup := false
		switch key {
		case "dtype":
			dup = e.dtype != graph.NoDType
			var s string
			if s, issue = h.text(name + ".dtype"); issue != nil {
				return issue
			}
			var ok bool
			if e.dtype, ok = dtypes[s]; !ok {
				return h.fail("dtype", "tensor %q has elements of type %q, which MLX does not have", name, s).
					WithHint("convert the model with mlx_lm.convert, in bfloat16 or quantized")
			}
		case "shape":
			dup = e.shape != nil
			e.shape, issue = h.integers(name + ".shape")
		case "data_offsets":
			dup = offsets != nil
			offsets, issue = h.integers(name + ".data_offsets")
		default:
			return h.fail("header", "tensor %q: unknown key %q", name, key)
		}
		if dup && issue == nil {
			issue = h.fail("duplicate", "tensor %q: %q is there twice", name, key)
		}
		return issue
	})
	if err != nil {
		return err
	}
	if e.dtype == graph.NoDType || e.shape == nil || len(offsets) != 2 {
		return h.fail("header", "tensor %q needs dtype, shape and two data_offsets", name)
	}
	e.begin, e.end = offsets[0], offsets[1]
	size, ok := weights.NumBytes(e.dtype, e.shape)
	if !ok || e.end < e.begin || e.end-e.begin != size {
		return h.fail("shape", "tensor %q: %v of shape %v cannot be in the bytes from %d to %d", name, e.dtype, e.shape, e.begin, e.end)
	}
	h.entries = append(h.entries, e)
	return nil
}

// checkCoverage checks that the tensors lie side by side from the start of the
// data area to its end.
func (h *header) checkCoverage(size int) *diag.Issue {
	slices.SortStableFunc(h.entries, func(a, b entry) int {
		if a.begin != b.begin {
			return a.begin - b.begin
		}
		return a.end - b.end // empty tensors first
	})
	at := 0
	for _, e := range h.entries {
		switch {
		case e.begin < at:
			return diag.Errorf("safetensors/overlap", diag.At(h.name, e.at), "tensor %q starts at %d, inside the one before, which ends at %d", e.name, e.begin, at)
		case e.begin > at:
			return diag.Errorf("safetensors/gap", diag.At(h.name, e.at), "tensor %q starts at %d, and the one before ends at %d", e.name, e.begin, at)
		}
		at = e.end
	}
	if at > size {
		return diag.Errorf("safetensors/truncated", diag.At(h.name, int64(h.data+size)), "the tensors have %d bytes, and the file has %d for them", at, size).
			WithHint("the download may be incomplete: compare the file's size or sha256, and fetch it again")
	}
	if at < size {
		return diag.Errorf("safetensors/gap", diag.At(h.name, int64(h.data+at)), "%d bytes after the last tensor belong to none", size-at)
	}
	return nil
}
