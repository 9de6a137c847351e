package cache

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/kvquant"
	"zmlx-rewrite/models/safetensors"
	"zmlx-rewrite/models/weights"
)

// File is a prompt cache as mlx_lm's save_prompt_cache writes it and load_prompt_cache
// reads it: a safetensors file with the state of each layer under the names that
// tree_flatten gives it, and the classes of the layers in its metadata. A file is taken
// as hostile: what does not fit the program is an error, and nothing is read for it.
type File struct {
	Path string
	// Meta is what the program that wrote the file says, such as the model.
	Meta map[string]string
	// Bits and GroupSize are of the quantized layers; 0 if there are none.
	Bits, GroupSize int

	store   *weights.Store
	classes []string
	offset  int
}

// mlx-lm's classes that a program's state can be.
const (
	classKV        = "KVCache"
	classQuantized = "QuantizedKVCache"
	classRotating  = "RotatingKVCache"
	classArrays    = "ArraysCache"
)

// maxOffset bounds the tokens that a file claims to hold.
const maxOffset = 1 << 30

// OpenFile reads what the header of a file says. Close it when its tensors are loaded.
func OpenFile(path string) (*File, error) {
	store, meta, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	return newFile(path, store, meta)
}

// newFile takes the store over.
func newFile(path string, store *weights.Store, meta map[string]string) (*File, error) {
	f := &File{Path: path, Meta: map[string]string{}, store: store}
	if err := f.head(meta); err != nil {
		store.Close()
		return nil, err
	}
	return f, nil
}

// Close gives up the file.
func (f *File) Close() error { return f.store.Close() }

// Offset is the number of tokens that the file holds.
func (f *File) Offset() int { return f.offset }

func (f *File) fail(code, format string, args ...any) *diag.Issue {
	return diag.Errorf("prompt-cache/"+code, diag.Pos{File: f.Path}, format, args...)
}

func (f *File) head(meta map[string]string) error {
	for k, v := range meta {
		list, rest, _ := strings.Cut(k, ".")
		switch list {
		case "0":
			f.Meta[rest] = v
		case "1":
			if i, err := strconv.Atoi(rest); err == nil && i >= 0 && i < len(meta) {
				for len(f.classes) <= i {
					f.classes = append(f.classes, "")
				}
				f.classes[i] = v
			}
		}
	}
	if len(f.classes) == 0 || slices.Contains(f.classes, "") {
		return f.fail("format", "the metadata does not list the classes of the layers' caches").
			WithHint("a prompt cache is made by zmlx-rewrite cache-prompt or mlx_lm.cache_prompt")
	}
	f.offset = -1
	for i, class := range f.classes {
		var at int
		var err error
		switch class {
		case classKV, classRotating:
			at, err = f.number(i, 2)
		case classQuantized:
			at, err = f.number(i, 2)
			var group, bits int
			if err == nil {
				group, err = f.number(i, 3)
			}
			if err == nil {
				bits, err = f.number(i, 4)
			}
			if err == nil && f.Bits > 0 && (f.Bits != bits || f.GroupSize != group) {
				err = f.fail("format", "layer %d is quantized to %d bits in groups of %d, others to %d in groups of %d", i, bits, group, f.Bits, f.GroupSize)
			}
			f.Bits, f.GroupSize = bits, group
		case classArrays:
			continue
		default:
			err = f.fail("kind", "layer %d keeps a %s, which is none of %s, %s, %s and %s", i, class, classKV, classQuantized, classRotating, classArrays).
				WithHint("process the prompt again without --prompt-cache")
		}
		if err == nil && (at < 1 || at > maxOffset || f.offset >= 0 && at != f.offset) {
			err = f.fail("format", "layer %d holds %d tokens; other layers %d", i, at, f.offset)
		}
		if err != nil {
			return err
		}
		f.offset = at
	}
	if f.offset < 0 {
		return f.fail("kind", "no layer says how many tokens the file holds").WithHint("process the prompt again without --prompt-cache")
	}
	return nil
}

// number is a number among a layer's state.
func (f *File) number(layer, i int) (int, error) {
	name := fmt.Sprintf("%d.%d", layer, i)
	t := f.store.Get(name)
	if t == nil || len(t.Shape) > 0 || !t.DType.IsInteger() {
		return 0, f.fail("format", "%s, a whole number of layer %d, is missing", name, layer)
	}
	data := make([]byte, t.NumBytes())
	if err := t.ReadInto(data); err != nil {
		return 0, f.fail("read", "%s: %v", name, err)
	}
	return int(graph.DecodeElem(t.DType, data)), nil
}

// entry is where a file has the state of one layer.
type entry struct {
	layer  int
	class  string
	states []*state // in the order of mlx-lm's class
	names  []string // of their tensors
}

// entries groups the state by layer, as mlx-lm's classes have it.
func (c *Caches) entries() ([]entry, error) {
	byLayer := map[int]map[string]*state{}
	var order []int
	for _, s := range c.list {
		parts := strings.SplitN(s.name, ".", 3)
		n, err := strconv.Atoi(parts[1])
		if err != nil || len(parts) < 3 {
			return nil, fmt.Errorf("state %s is of no layer", s.name)
		}
		if byLayer[n] == nil {
			byLayer[n] = map[string]*state{}
			order = append(order, n)
		}
		byLayer[n][parts[2]] = s
	}
	slices.Sort(order)
	var all []entry
	for i, n := range order {
		if n != i {
			return nil, fmt.Errorf("layer %d keeps nothing", i)
		}
		e := entry{layer: n}
		kinds := byLayer[n]
		take := func(kind, name string) {
			e.states = append(e.states, kinds[kind])
			e.names = append(e.names, fmt.Sprintf("%d.%s", n, name))
			delete(kinds, kind)
		}
		switch {
		case kinds["keys"] != nil && kinds["values"] != nil:
			e.class = classKV
			if kinds["keys"].kind == graph.SymWindowCap {
				e.class = classRotating
			}
			take("keys", "0")
			take("values", "1")
		case kinds["keys"+kvquant.Parts[0]] != nil:
			e.class = classQuantized
			for i, half := range []string{"keys", "values"} {
				for k, part := range kvquant.Parts {
					if kinds[half+part] == nil {
						return nil, fmt.Errorf("layer %d has no %s%s", n, half, part)
					}
					take(half+part, fmt.Sprintf("%d.%d", i, k))
				}
			}
		default:
			e.class = classArrays
			for i, kind := range slices.Sorted(maps.Keys(kinds)) {
				if kinds[kind].kind != "" {
					break
				}
				take(kind, fmt.Sprintf("0.%d", i))
			}
		}
		if len(kinds) > 0 {
			return nil, fmt.Errorf("layer %d keeps %s besides, for which mlx-lm has a class of its own", n, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
		}
		all = append(all, e)
	}
	return all, nil
}

// Caches returns the state of one sequence that the file holds, for a program that is
// plain or quantized as the file is. Rings keep their first keep rows for good.
func (f *File) Caches(e engine.Engine, p *graph.Program, keep int) (*Caches, error) {
	c, err := New(e, p, 1)
	if err != nil {
		return nil, err
	}
	c.keep = keep
	list, err := c.entries()
	if err != nil {
		return nil, f.fail("kind", "prompt caches of %s are not read: %v", p.Name, err)
	}
	if len(list) != len(f.classes) {
		return nil, f.fail("model", "the file has %d layers, the model %d", len(f.classes), len(list)).WithHint("a prompt cache is for the model that made it")
	}
	if f.Bits != c.bits || f.GroupSize != c.group {
		return nil, f.fail("model", "the file has %d bits in groups of %d, the program %d in groups of %d", f.Bits, f.GroupSize, c.bits, c.group)
	}
	c.offset = f.offset
	for i, x := range list {
		if err := f.layer(c, &x, i); err != nil {
			c.Reset()
			return nil, err
		}
	}
	return c, nil
}

func (f *File) layer(c *Caches, x *entry, layer int) error {
	if x.class != f.classes[layer] {
		return f.fail("model", "layer %d keeps a %s, the model a %s", layer, f.classes[layer], x.class).WithHint("a prompt cache is for the model that made it")
	}
	if x.class == classRotating {
		var n [3]int // keep, max_size, _idx
		for i := range n {
			var err error
			if n[i], err = f.number(layer, 3+i); err != nil {
				return err
			}
		}
		switch {
		case n[0] != c.keep:
			return f.fail("kind", "layer %d keeps its first %d tokens for good, this program %d", layer, n[0], c.keep)
		case n[1] != c.window:
			return f.fail("model", "layer %d has a window of %d, the model of %d", layer, n[1], c.window)
		case n[2] < 0 || c.next > 0 && n[2] != c.next || n[2] < c.keep && n[2] != c.offset:
			return f.fail("format", "layer %d goes on at row %d, others at %d", layer, n[2], c.next)
		}
		c.next = n[2]
	}
	for i, s := range x.states {
		t := f.store.Get(x.names[i])
		if t == nil {
			return f.fail("format", "%s of layer %d, %s, is missing", x.names[i], layer, s.name)
		}
		if err := f.fits(c, s, t); err != nil {
			return err
		}
		data := make([]byte, t.NumBytes())
		if err := t.ReadInto(data); err != nil {
			return f.fail("read", "%s: %v", t.Name, err)
		}
		var err error
		if s.tensor, err = c.engine.NewTensor(t.DType, t.Shape, data); err != nil {
			return err
		}
	}
	return nil
}

// fits checks the type of a tensor, and that it has the rows that the file says it has.
func (f *File) fits(c *Caches, s *state, t *weights.Tensor) error {
	rows := 0
	if s.axis >= 0 && s.axis < len(t.Shape) {
		rows = t.Shape[s.axis]
	}
	want, err := c.shape(s, rows)
	if err != nil || !slices.Equal(want, t.Shape) || s.typ.DType != t.DType {
		return f.fail("model", "%s is %s%v, which is not the model's %s %s", t.Name, t.DType, t.Shape, s.name, s.typ).
			WithHint("a prompt cache is for the model that made it, with the same --dtype and quantization")
	}
	switch held := min(c.offset, c.window); {
	case s.kind == graph.SymKVCap && rows < c.offset:
		return f.fail("format", "%s has %d rows for %d tokens", t.Name, rows, c.offset)
	case s.kind == graph.SymWindowCap && (rows < held || c.next > rows || c.offset < rows && c.next != c.offset):
		return f.fail("format", "%s has %d rows, the next at %d, for %d tokens behind a window of %d", t.Name, rows, c.next, c.offset, c.window)
	}
	return nil
}

// Save writes the state to a file that mlx-lm reads, whole or not at all. meta says what
// made it; mlx-lm wants "model" and "tokenizer_config" there.
func (c *Caches) Save(path string, meta map[string]string) error {
	fail := func(code, format string, args ...any) error {
		return diag.Errorf("prompt-cache/"+code, diag.Pos{File: path}, format, args...)
	}
	list, err := c.entries()
	if err != nil {
		return fail("kind", "a prompt cache of this model cannot be saved: %v", err)
	}
	if c.batch != 1 || c.offset == 0 {
		return fail("empty", "there is no sequence to save: %d tokens of %d sequences", c.offset, c.batch)
	}
	all := map[string]string{"2.0": ""}
	for k, v := range meta {
		all["0."+k] = v
	}
	var tensors []*weights.Tensor
	add := func(name string, t graph.DType, shape []int, data []byte) error {
		x, err := weights.New(name, t, shape, weights.Raw(data))
		if err == nil {
			tensors = append(tensors, x)
		}
		return err
	}
	scalars := 0
	special := func(name, kind string) {
		scalars++
		all[fmt.Sprintf("2.%d.0", scalars)], all[fmt.Sprintf("2.%d.1", scalars)] = name, kind
	}
	for _, x := range list {
		all[fmt.Sprintf("1.%d", x.layer)] = x.class
		var numbers []int
		switch x.class {
		case classKV:
			numbers = []int{c.offset}
		case classQuantized:
			numbers = []int{c.offset, c.group, c.bits}
		case classRotating:
			numbers = []int{c.offset, c.keep, c.window, c.next}
		case classArrays:
			for _, i := range []int{1, 2} { // left_padding and lengths
				name := fmt.Sprintf("%d.%d", x.layer, i)
				if err := add(name, graph.Float32, []int{0}, nil); err != nil {
					return err
				}
				special(name, "none")
			}
		}
		for i, s := range x.states {
			data, err := s.tensor.Read()
			if err == nil {
				err = add(x.names[i], s.typ.DType, s.tensor.Shape(), data)
			}
			if err != nil {
				return err
			}
		}
		for i, n := range numbers {
			name := fmt.Sprintf("%d.%d", x.layer, 2+i)
			if err := add(name, graph.Int32, []int{}, binary.LittleEndian.AppendUint32(nil, uint32(n))); err != nil {
				return err
			}
			special(name, "scalar")
		}
	}
	return safetensors.Write(path, slices.Values(tensors), all)
}
