package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"unicode/utf8"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/diag/outfile"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/weights"
)

// written has the element types in the order of the reference implementation,
// which writes tensors of the last one first. So the wide ones are in front, and
// all are aligned.
var written = []struct {
	dtype graph.DType
	name  string
}{
	{graph.Bool, "BOOL"}, {graph.Uint8, "U8"}, {graph.Int8, "I8"}, {graph.Int16, "I16"}, {graph.Uint16, "U16"},
	{graph.Float16, "F16"}, {graph.BFloat16, "BF16"}, {graph.Int32, "I32"}, {graph.Uint32, "U32"}, {graph.Float32, "F32"},
	{graph.Complex64, "C64"}, {graph.Float64, "F64"}, {graph.Int64, "I64"}, {graph.Uint64, "U64"},
}

func rank(t graph.DType) int {
	for i, w := range written {
		if w.dtype == t {
			return i
		}
	}
	return -1
}

// Write writes tensors and metadata to path, whole or not at all: until all of it
// is on disk, path has its old content. The bytes are those that the reference
// implementation writes, up to the order of metadata, which is sorted here.
// Tensors that have to be produced are streamed.
func Write(path string, tensors iter.Seq[*weights.Tensor], meta map[string]string) error {
	fail := func(err error) error {
		return diag.Errorf("safetensors/write", diag.Pos{File: path}, "%v", err).WithHint("the file is as it was before")
	}
	sorted := slices.Collect(tensors)
	slices.SortStableFunc(sorted, func(a, b *weights.Tensor) int {
		return cmp.Or(cmp.Compare(rank(b.DType), rank(a.DType)), cmp.Compare(a.Name, b.Name))
	})
	head, err := encodeHeader(sorted, meta)
	if err != nil {
		return fail(err)
	}
	target, err := outfile.Target(path)
	if err != nil {
		return fail(err)
	}
	f, err := renameio.NewPendingFile(target, renameio.WithPermissions(0o644), renameio.WithExistingPermissions())
	if err != nil {
		return fail(err)
	}
	defer f.Cleanup() // of the temporary file, where it was not renamed
	if _, err := f.Write(head); err != nil {
		return fail(err)
	}
	buf := make([]byte, 1<<20)
	for _, t := range sorted {
		if err := writeTensor(f, t, buf); err != nil {
			return fail(fmt.Errorf("tensor %q: %w", t.Name, err))
		}
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fail(err)
	}
	return nil
}

func writeTensor(w io.Writer, t *weights.Tensor, buf []byte) error {
	for off, n := 0, t.NumBytes(); off < n; {
		part := buf[:min(len(buf), n-off)]
		// Not Bytes: ReadAt survives a file that shrinks.
		if _, err := t.ReadAt(part, int64(off)); err != nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		off += len(part)
	}
	return nil
}

// encodeHeader returns the file up to the data: the header's length, the header,
// and spaces up to a multiple of 8.
func encodeHeader(sorted []*weights.Tensor, meta map[string]string) ([]byte, error) {
	b := make([]byte, 8)
	sep := byte('{')
	if len(meta) > 0 {
		b = appendJSON(append(appendJSON(append(b, sep), metadataKey), ':'), meta)
		sep = ','
	}
	names := map[string]bool{metadataKey: true}
	at := 0
	for _, t := range sorted {
		if names[t.Name] || !utf8.ValidString(t.Name) {
			return nil, fmt.Errorf("the name %q is there twice, reserved, or not UTF-8 text", t.Name)
		}
		names[t.Name] = true
		end := at + t.NumBytes()
		b = appendJSON(append(b, sep), t.Name)
		b = appendJSON(append(b, ':'), struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{written[rank(t.DType)].name, append([]int{}, t.Shape...), [2]int{at, end}}) // a scalar's shape is [], not null
		at, sep = end, ','
	}
	if sep == '{' {
		b = append(b, sep)
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	if len(b)-8 > maxHeader {
		return nil, fmt.Errorf("the header would have %d bytes; at most %d are allowed", len(b)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b, nil
}

// appendJSON appends v, which is made of strings and integers only, without
// escaping < > & as encoding/json does for web pages.
func appendJSON(b []byte, v any) []byte {
	w := bytes.NewBuffer(b)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // not for such values
	}
	return w.Bytes()[:w.Len()-1] // Encode ends with a newline
}
