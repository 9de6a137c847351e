package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"unicode/utf8"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// maxHeader is the limit of the reference implementation, in bytes.
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

// header is the header of a file, and the parser that reads it. A header is JSON
// of one fixed shape, and the largest have hundreds of thousands of entries, so
// it is read as what it must be, without a tree in between. The first error
// sticks; after it, everything reads as empty.
type header struct {
	meta    map[string]string
	entries []entry // in the order of their data
	data    int     // where the data area starts in the file

	name string // of the file
	text []byte // the file up to the data area
	pos  int    // in text
	err  *diag.Issue
}

// entry is a tensor of the header.
type entry struct {
	name       string
	dtype      graph.DType
	shape      []int
	begin, end int // in the data area
	at         int // of its name in the file
}

func (h *header) fail(at int, code, format string, args ...any) *diag.Issue {
	i := diag.Errorf("safetensors/"+code, diag.At(h.name, int64(at)), format, args...)
	if h.err == nil {
		h.err = i
	}
	return i
}

// read parses and checks the header of a file.
func (h *header) read(data []byte) {
	const incomplete = "the download may be incomplete: compare the file's size or sha256, and fetch it again"
	if len(data) < 8 {
		h.fail(0, "truncated", "%d bytes are no safetensors file", len(data))
		return
	}
	n := binary.LittleEndian.Uint64(data)
	switch left := uint64(len(data) - 8); {
	case n > maxHeader:
		h.fail(0, "header", "a header of %d bytes; at most %d are allowed", n, maxHeader).WithHint("this may not be a safetensors file")
		return
	case n > left:
		h.fail(0, "truncated", "a header of %d bytes, and the file has %d left", n, left).WithHint(incomplete)
		return
	}
	h.data = 8 + int(n)
	h.text, h.pos = data[:h.data], 8
	if n == 0 || h.text[8] != '{' {
		h.fail(8, "header", "the header does not start with {").WithHint("this may not be a safetensors file")
	} else if !utf8.Valid(h.text[8:]) {
		h.fail(8, "header", "the header is not UTF-8 text")
	}
	h.tensors()
	if h.space(); h.err == nil && h.pos < len(h.text) {
		h.fail(h.pos, "header", "text after the header's object")
	}
	if h.err == nil {
		h.checkCoverage(len(data)-h.data, incomplete)
	}
}

func (h *header) tensors() {
	seen := map[string]bool{}
	h.object(func(name string, at int) {
		if seen[name] {
			h.fail(at, "duplicate", "%q is there twice", name)
		}
		seen[name] = true
		if name != metadataKey {
			h.tensor(name, at)
			return
		}
		if bytes.HasPrefix(h.text[h.pos:], []byte("null")) { // as mlx.core.save_safetensors writes none
			h.pos += len("null")
			return
		}
		h.meta = map[string]string{}
		h.object(func(key string, at int) {
			if _, dup := h.meta[key]; dup {
				h.fail(at, "duplicate", "%s: %q is there twice", metadataKey, key)
			}
			h.meta[key] = h.string()
		})
	})
}

func (h *header) tensor(name string, at int) {
	e := entry{name: name, dtype: graph.NoDType, at: at}
	var offsets []int
	h.object(func(key string, at int) {
		dup := false
		switch key {
		case "dtype":
			dup = e.dtype != graph.NoDType
			at := h.pos
			s := h.string()
			var ok bool
			if e.dtype, ok = dtypes[s]; !ok {
				h.fail(at, "dtype", "tensor %q has elements of type %q, which MLX does not have", name, s).
					WithHint("convert the model with mlx_lm.convert, in bfloat16 or quantized")
			}
		case "shape":
			dup = e.shape != nil
			e.shape = h.integers()
		case "data_offsets":
			dup = offsets != nil
			offsets = h.integers()
		default:
			h.fail(at, "header", "tensor %q: unknown key %q", name, key)
		}
		if dup {
			h.fail(at, "duplicate", "tensor %q: %q is there twice", name, key)
		}
	})
	if h.err != nil {
		return
	}
	if e.dtype == graph.NoDType || e.shape == nil || len(offsets) != 2 {
		h.fail(at, "header", "tensor %q needs dtype, shape and two data_offsets", name)
		return
	}
	e.begin, e.end = offsets[0], offsets[1]
	size, ok := weights.NumBytes(e.dtype, e.shape)
	if !ok || e.end < e.begin || e.end-e.begin != size {
		h.fail(at, "shape", "tensor %q: %v of shape %v cannot be in the bytes from %d to %d", name, e.dtype, e.shape, e.begin, e.end)
		return
	}
	h.entries = append(h.entries, e)
}

// checkCoverage checks that the tensors lie side by side from the start of the
// data area to its end.
func (h *header) checkCoverage(size int, incomplete string) {
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
			h.fail(e.at, "overlap", "tensor %q starts at %d, inside the one before, which ends at %d", e.name, e.begin, at)
			return
		case e.begin > at:
			h.fail(e.at, "gap", "tensor %q starts at %d, and the one before ends at %d", e.name, e.begin, at)
			return
		}
		at = e.end
	}
	if at > size {
		h.fail(h.data+size, "truncated", "the tensors have %d bytes, and the file has %d for them", at, size).WithHint("%s", incomplete)
	} else if at < size {
		h.fail(h.data+at, "gap", "%d bytes after the last tensor belong to none", size-at)
	}
}

// space skips white space.
func (h *header) space() {
	for h.pos < len(h.text) {
		switch h.text[h.pos] {
		case ' ', '\t', '\n', '\r':
			h.pos++
		default:
			return
		}
	}
}

// next skips white space and reports whether c follows; if so it is read.
func (h *header) next(c byte) bool {
	h.space()
	if h.err != nil || h.pos == len(h.text) || h.text[h.pos] != c {
		return false
	}
	h.pos++
	return true
}

// expect reads c, or else fails.
func (h *header) expect(c byte) {
	if h.next(c) || h.err != nil {
		return
	}
	if h.pos == len(h.text) {
		h.fail(h.pos, "header", "the header ends where %q should be", c)
		return
	}
	h.fail(h.pos, "header", "expected %q, found %q", c, h.text[h.pos])
}

// object reads an object. each is called with a key and its offset, and reads the
// value.
func (h *header) object(each func(key string, at int)) {
	h.expect('{')
	if h.next('}') {
		return
	}
	for h.err == nil {
		h.space()
		at := h.pos
		key := h.string()
		h.expect(':')
		if h.err != nil {
			return
		}
		h.space()
		if each(key, at); h.next('}') {
			return
		}
		h.expect(',')
	}
}

// string reads a string.
func (h *header) string() string {
	h.expect('"')
	if h.err != nil {
		return ""
	}
	start, plain := h.pos, true
	for ; h.pos < len(h.text); h.pos++ {
		switch c := h.text[h.pos]; {
		case c == '"':
			raw := h.text[start:h.pos]
			h.pos++
			if plain {
				return string(raw)
			}
			var s string
			if err := json.Unmarshal(h.text[start-1:h.pos], &s); err != nil {
				h.fail(start-1, "header", "not a JSON string: %v", err)
			}
			return s
		case c == '\\':
			plain = false
			h.pos++ // whatever is escaped does not end the string
		case c < ' ':
			h.fail(h.pos, "header", "a control character in a string")
			return ""
		}
	}
	h.fail(start-1, "header", "a string without an end")
	return ""
}

// integers reads a list of at most maxDims whole numbers from 0 to the largest
// int. An empty list is not nil.
func (h *header) integers() []int {
	h.expect('[')
	out := []int{}
	if h.next(']') {
		return out
	}
	for h.err == nil {
		if len(out) == maxDims {
			h.fail(h.pos, "header", "a list of more than %d numbers", maxDims)
			return nil
		}
		out = append(out, h.integer())
		if h.next(']') {
			return out
		}
		h.expect(',')
	}
	return nil
}

func (h *header) integer() int {
	h.space()
	start, n := h.pos, 0
	for ; h.pos < len(h.text) && '0' <= h.text[h.pos] && h.text[h.pos] <= '9'; h.pos++ {
		d := int(h.text[h.pos] - '0')
		if n > (math.MaxInt-d)/10 {
			h.fail(start, "header", "a number that is too large")
			return 0
		}
		n = n*10 + d
	}
	if h.pos == start || h.text[start] == '0' && h.pos > start+1 {
		h.fail(start, "header", "expected a whole number from 0 on")
	}
	return n
}
