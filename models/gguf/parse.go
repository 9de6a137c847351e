package gguf

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/models/weights"
)

const (
	magic            = "GGUF"
	defaultAlignment = 32
	maxDims          = 4     // GGML_MAX_DIMS
	maxKey           = 65535 // bytes, by the format
	// The format allows 64 bytes, but MLX writes any length. A bound keeps what
	// names cost in proportion to the file.
	maxName = 255
	// What the least metadata entry and the least tensor description take: a count
	// over what the rest of the file can hold is wrong, and must not be allocated for.
	minKV     = 8 + 1 + 4 + 1
	minTensor = 8 + 1 + 4 + 8 + 4 + 8
)

// reader walks over the file. The first error sticks; reads after it give zero.
type reader struct {
	name string
	data []byte
	pos  int
	err  *diag.Issue
}

func (r *reader) fail(at int, code, format string, args ...any) *diag.Issue {
	i := diag.Errorf("gguf/"+code, diag.At(r.name, int64(at)), format, args...)
	if r.err == nil {
		r.err = i
	}
	return i
}

// take returns the next n bytes, or nil if the file ends before.
func (r *reader) take(n uint64, what string) []byte {
	if r.err != nil {
		return nil
	}
	if left := uint64(len(r.data) - r.pos); n > left {
		r.fail(r.pos, "truncated", "%s needs %d bytes, the file has %d left", what, n, left).
			WithHint("the download may be incomplete: compare the file's size or sha256, and fetch it again")
		return nil
	}
	b := r.data[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b
}

func (r *reader) u32(what string) uint32 {
	if b := r.take(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64(what string) uint64 {
	if b := r.take(8, what); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// ident reads a key or a tensor name.
func (r *reader) ident(what string, limit int) string {
	at := r.pos
	n := r.u64("the length of a " + what)
	if r.err == nil && n > uint64(limit) {
		r.fail(at, "name", "a %s of %d bytes; at most %d are allowed", what, n, limit)
	}
	b := r.take(n, "a "+what)
	if r.err == nil && (len(b) == 0 || !utf8.Valid(b)) {
		r.fail(at, "name", "%s %q is not UTF-8 text of at least one byte", what, b)
	}
	if r.err != nil {
		return ""
	}
	return string(b)
}

func parse(m *weights.File) (*File, error) {
	f := &File{file: m}
	var bad *diag.Issue
	err := weights.Guard(func() error {
		r := &reader{name: m.Name(), data: m.Data()}
		f.read(r)
		bad = r.err
		return nil
	}, m)
	if err != nil {
		return nil, err
	}
	if bad != nil {
		return nil, bad
	}
	return f, nil
}

func (f *File) read(r *reader) {
	if len(r.data) < len(magic) || string(r.data[:len(magic)]) != magic {
		r.fail(0, "magic", "not a GGUF file").WithHint("a GGUF file starts with the letters GGUF")
		return
	}
	r.pos = len(magic)
	f.Version = r.u32("the version")
	switch {
	case r.err != nil:
		return
	case f.Version == bits.ReverseBytes32(2) || f.Version == bits.ReverseBytes32(3):
		r.fail(4, "version", "a big-endian GGUF file").WithHint("convert it with gguf-convert-endian of the Python package gguf")
		return
	case f.Version != 2 && f.Version != 3:
		r.fail(4, "version", "GGUF version %d; 2 and 3 are supported", f.Version).WithHint("convert the model again with a current llama.cpp")
		return
	}
	at := r.pos
	nTensors, nKV := r.u64("the number of tensors"), r.u64("the number of metadata entries")
	if r.err != nil {
		return
	}
	left := uint64(len(r.data) - r.pos)
	if nKV > left/minKV || nTensors > left/minTensor {
		r.fail(at, "count", "%d tensors and %d metadata entries cannot be in the %d bytes that follow", nTensors, nKV, left)
		return
	}
	f.readMetadata(r, int(nKV))
	f.readTensors(r, int(nTensors))
	if r.err == nil {
		f.checkData(r)
	}
}

func (f *File) readMetadata(r *reader, n int) {
	f.Metadata = make([]KV, 0, n)
	f.byKey = make(map[string]int, n)
	for i := 0; i < n && r.err == nil; i++ {
		at := r.pos
		key := r.ident("metadata key", maxKey)
		if j, dup := f.byKey[key]; dup {
			r.fail(at, "duplicate-key", "metadata key %q is there twice, first with the value at offset %d", key, f.Metadata[j].Value.At)
		}
		v := r.value(key)
		if r.err != nil {
			return
		}
		f.byKey[key] = len(f.Metadata)
		f.Metadata = append(f.Metadata, KV{key, v})
	}
}

func (r *reader) value(key string) Value {
	at := r.pos
	v := Value{Type: ValueType(r.u32("the type of " + key)), At: r.pos}
	switch {
	case r.err != nil:
	case v.Type >= numValueTypes:
		r.fail(at, "value-type", "%q has unknown %v", key, v.Type)
	case v.Type == String:
		v.Data = string(r.take(r.u64("the length of "+key), key))
	case v.Type == Array:
		v.Elem = ValueType(r.u32("the element type of " + key))
		n := r.u64("the length of " + key)
		v.Data = r.array(key, v.Elem, n, at)
	default:
		b := r.take(uint64(valueTypes[v.Type].size), key)
		if r.err == nil {
			if v.Type == Bool && b[0] > 1 {
				r.fail(r.pos-1, "bool", "%q: a bool of value %d", key, b[0])
			}
			v.Data = scalar(v.Type, b)
		}
	}
	return v
}

func scalar(t ValueType, b []byte) any {
	le := binary.LittleEndian
	switch t {
	case Uint8:
		return b[0]
	case Int8:
		return int8(b[0])
	case Uint16:
		return le.Uint16(b)
	case Int16:
		return int16(le.Uint16(b))
	case Uint32:
		return le.Uint32(b)
	case Int32:
		return int32(le.Uint32(b))
	case Float32:
		return math.Float32frombits(le.Uint32(b))
	case Bool:
		return b[0] == 1
	case Uint64:
		return le.Uint64(b)
	case Int64:
		return int64(le.Uint64(b))
	}
	return math.Float64frombits(le.Uint64(b))
}

// array reads n elements. The elements are checked to be in the file before they
// are allocated for.
func (r *reader) array(key string, elem ValueType, n uint64, at int) any {
	switch {
	case r.err != nil:
		return nil
	case elem >= numValueTypes:
		r.fail(at, "value-type", "%q is an array of unknown %v", key, elem)
		return nil
	case elem == Array:
		r.fail(at, "nested-array", "%q is an array of arrays, which no known model has", key)
		return nil
	case elem == String:
		return r.strings(key, n)
	}
	size := uint64(valueTypes[elem].size)
	if n > math.MaxInt64/size {
		r.fail(r.pos, "truncated", "%q: an array of %d elements", key, n)
		return nil
	}
	b := r.take(n*size, key)
	if r.err != nil {
		return nil
	}
	le := binary.LittleEndian
	switch elem {
	case Uint8:
		return slices.Clone(b)
	case Int8:
		return elements(b, 1, func(b []byte) int8 { return int8(b[0]) })
	case Uint16:
		return elements(b, 2, le.Uint16)
	case Int16:
		return elements(b, 2, func(b []byte) int16 { return int16(le.Uint16(b)) })
	case Uint32:
		return elements(b, 4, le.Uint32)
	case Int32:
		return elements(b, 4, func(b []byte) int32 { return int32(le.Uint32(b)) })
	case Float32:
		return elements(b, 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) })
	case Bool:
		if i := slices.IndexFunc(b, func(x byte) bool { return x > 1 }); i >= 0 {
			r.fail(r.pos-len(b)+i, "bool", "%q: a bool of value %d", key, b[i])
			return nil
		}
		return elements(b, 1, func(b []byte) bool { return b[0] == 1 })
	case Uint64:
		return elements(b, 8, le.Uint64)
	case Int64:
		return elements(b, 8, func(b []byte) int64 { return int64(le.Uint64(b)) })
	}
	return elements(b, 8, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) })
}

func elements[T any](b []byte, size int, get func([]byte) T) []T {
	out := make([]T, len(b)/size)
	for i := range out {
		out[i] = get(b[i*size:])
	}
	return out
}

// strings reads an array of strings: a vocabulary has hundreds of thousands, so
// they share one allocation.
func (r *reader) strings(key string, n uint64) []string {
	if n > uint64(len(r.data)-r.pos)/8 {
		r.fail(r.pos, "truncated", "%q: %d strings in the %d bytes that are left", key, n, len(r.data)-r.pos)
		return nil
	}
	start := r.pos
	ends := make([]int, n)
	length := "a length in " + key
	for i := range ends {
		r.take(r.u64(length), key)
		ends[i] = r.pos
	}
	if r.err != nil {
		return nil
	}
	all := string(r.data[start:r.pos])
	out := make([]string, n)
	from := 0
	for i, end := range ends {
		out[i] = all[from+8 : end-start]
		from = end - start
	}
	return out
}

func (f *File) readTensors(r *reader, n int) {
	if r.err != nil {
		return
	}
	f.Tensors = make([]Tensor, 0, n)
	seen := make(map[string]int, n)
	for i := 0; i < n && r.err == nil; i++ {
		t := Tensor{at: r.pos}
		t.Name = r.ident("tensor name", maxName)
		if r.err != nil {
			return
		}
		if first, dup := seen[t.Name]; dup {
			r.fail(t.at, "duplicate-tensor", "tensor %q is described twice, first at offset %d", t.Name, first)
			return
		}
		seen[t.Name] = t.at
		r.tensor(&t)
		f.Tensors = append(f.Tensors, t)
	}
}

// tensor reads what follows a tensor's name. Offset is left relative to the data
// section, whose place is not known yet.
func (r *reader) tensor(t *Tensor) {
	at := r.pos
	rank := r.u32("the number of dimensions of " + t.Name)
	if r.err == nil && (rank < 1 || rank > maxDims) {
		r.fail(at, "dimensions", "tensor %q has %d dimensions; 1 to %d are allowed", t.Name, rank, maxDims)
	}
	if r.err != nil {
		return
	}
	count := uint64(1)
	t.Shape = make([]int, rank)
	for i := range t.Shape {
		at := r.pos
		d := r.u64("a dimension of " + t.Name)
		hi, lo := bits.Mul64(count, d)
		if r.err == nil && (d == 0 || d > math.MaxInt32 || hi != 0 || lo > math.MaxInt/8) {
			r.fail(at, "dimensions", "tensor %q has a dimension of %d after %d elements", t.Name, d, count)
		}
		if r.err != nil {
			return
		}
		count = lo
		t.Shape[len(t.Shape)-1-i] = int(d) // the file has the innermost first
	}
	at = r.pos
	t.Type = Type(r.u32("the type of " + t.Name))
	l, ok := layouts[t.Type]
	if r.err == nil && !ok {
		r.fail(at, "tensor-type", "tensor %q is of type %v, which is not supported", t.Name, t.Type).
			WithHint("use a file quantized as Q4_0, Q4_1, Q8_0 or MXFP4, or in F16 or BF16, or convert the Hugging Face model with mlx_lm.convert")
	}
	at = r.pos
	offset := r.u64("the offset of " + t.Name)
	if r.err != nil {
		return
	}
	if inner := t.Shape[rank-1]; inner%l.block != 0 {
		r.fail(t.at, "dimensions", "tensor %q: its rows have %d elements, no multiple of the %d of a %v block", t.Name, inner, l.block, t.Type)
	}
	if l.bits > 0 && !strings.HasSuffix(t.Name, weightSuffix) {
		r.fail(t.at, "name", "tensor %q is quantized, and its name does not end in %q", t.Name, weightSuffix)
	}
	if offset > uint64(len(r.data)) {
		r.fail(at, "bounds", "tensor %q: its data starts %d bytes into the data section of a file of %d bytes", t.Name, offset, len(r.data)).
			WithHint("the download may be incomplete: compare the file's size or sha256, and fetch it again")
		return
	}
	t.Offset = int(offset)
	size := count / uint64(l.block) * uint64(l.bytes) // count is at most MaxInt/8, bytes/block at most 4
	t.Size = int(size)
}

// checkData places the tensors: every one inside the data section, aligned, none
// overlapping another.
func (f *File) checkData(r *reader) {
	align := defaultAlignment
	if v, ok := f.Get("general.alignment"); ok {
		a, isU32 := v.Data.(uint32)
		if !isU32 || a == 0 || a&(a-1) != 0 {
			r.fail(v.At, "alignment", "general.alignment is %v of type %v; it must be a uint32 and a power of two", v, v.Type)
			return
		}
		align = int(a)
	}
	if len(f.Tensors) == 0 {
		return
	}
	start := (r.pos + align - 1) &^ (align - 1)
	sorted := make([]*Tensor, len(f.Tensors))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		sorted[i] = t
		if t.Offset%align != 0 {
			r.fail(t.at, "alignment", "tensor %q: its data offset %d is no multiple of %d", t.Name, t.Offset, align)
			return
		}
		if start > len(r.data) || t.Offset > len(r.data)-start || t.Size > len(r.data)-start-t.Offset {
			r.fail(t.at, "bounds", "tensor %q: %d bytes at offset %d of the data section, which starts at %d, are not all in the file of %d bytes",
				t.Name, t.Size, t.Offset, start, len(r.data)).
				WithHint("the download may be incomplete: compare the file's size or sha256, and fetch it again")
			return
		}
		t.Offset += start
	}
	slices.SortFunc(sorted, func(a, b *Tensor) int { return a.Offset - b.Offset })
	for i, t := range sorted[1:] {
		if before := sorted[i]; before.Offset+before.Size > t.Offset {
			r.fail(t.at, "overlap", "tensor %q: its data starts at %d, inside that of %q, which ends at %d", t.Name, t.Offset, before.Name, before.Offset+before.Size)
			return
		}
	}
}
