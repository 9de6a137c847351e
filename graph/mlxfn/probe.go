package mlxfn

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// A file of an MLX that the table does not have can be read once that MLX has shown,
// primitive by primitive, that it keeps the newest layouts: it exports small
// functions whose state is known beforehand, with values that tell the fields apart
// (kth=3, axis=1), and what is read must be that state, and written again be the same
// bytes. The steps are WriteProbes, scripts/oracle/mlxfn_probe.py with that MLX, and
// CheckProbes.

//go:embed probes.json
var probesJSON []byte

// Probe is one small function. Either it is a Python expression over named arrays, to
// be traced; or, for what MLX only traces on a GPU, it is one node that we write (the
// seed) and that MLX must import and export again.
type Probe struct {
	Name    string                     `json:"name"` // primitive, or primitive.variant
	Args    []string                   `json:"args"`
	Call    string                     `json:"call"`
	Seed    bool                       `json:"seed"`
	Inputs  []string                   `json:"inputs"`  // types of a seed: "float32[4,6]"
	Outputs []string                   `json:"outputs"` // likewise
	State   map[string]json.RawMessage `json:"state"`   // what must be read back
	// Dropped marks the primitives that MLX reads, but simplifies away before it writes.
	Dropped bool `json:"dropped"`
}

// Primitive returns the primitive that the probe is about.
func (p *Probe) Primitive() string {
	name, _, _ := strings.Cut(p.Name, ".")
	return name
}

var allProbes = func() []Probe {
	var file struct{ Probes []Probe }
	if err := json.Unmarshal(probesJSON, &file); err != nil {
		panic("mlxfn: probes.json: " + err.Error())
	}
	return file.Probes
}()

// ProbeSet returns the probes that an MLX of that version has to pass for the given
// primitives, or for all if none is given. For a release of the table it leaves out
// what that release does not have.
func ProbeSet(version string, primitives ...string) []Probe {
	l := layoutFor(version, nil)
	if l == nil {
		l = newest()
	}
	var set []Probe
	for _, p := range allProbes {
		name := p.Primitive()
		if l.rows[name] == nil || len(primitives) > 0 && !slices.Contains(primitives, name) {
			continue
		}
		set = append(set, p)
	}
	return set
}

// Proof says for which primitives an MLX keeps the newest layouts of the table.
type Proof struct {
	Version    string
	Primitives map[string]bool
	Failed     map[string]error // why a primitive is not among them; by its name
}

func (p *Proof) layout() *layout {
	l := unproven(p.Version)
	for name := range l.rows {
		if !p.Primitives[name] {
			delete(l.rows, name)
		}
	}
	return l
}

// unproven is the newest layout under another version's name.
func unproven(version string) *layout {
	l := *newest()
	l.version, l.rows = version, map[string]*Primitive{}
	for name, row := range newest().rows {
		l.rows[name] = row
	}
	return &l
}

// WriteProbes writes to dir what mlxfn_probe.py needs: probes.json, and seeds/ in the
// layouts of version or, if the table does not have it, the newest ones.
func WriteProbes(dir, version string) error {
	l := layoutFor(version, nil)
	if l == nil {
		l = newest()
	}
	if err := os.MkdirAll(filepath.Join(dir, "seeds"), 0o755); err != nil {
		return diag.Errorf("mlxfn/write", diag.Pos{File: dir}, "%v", err)
	}
	for _, p := range ProbeSet(l.version) {
		if !p.Seed {
			continue
		}
		f, err := p.file(l)
		if err != nil {
			return err
		}
		if err := WriteFile(filepath.Join(dir, "seeds", p.Name+".mlxfn"), f); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, "probes.json")
	if err := renameio.WriteFile(path, probesJSON, 0o644); err != nil {
		return diag.Errorf("mlxfn/write", diag.Pos{File: path}, "%v", err)
	}
	return nil
}

// CheckProbes reads the files that mlxfn_probe.py left in a folder. A primitive is
// proven if each of its probes passes; a missing file is a failure.
func CheckProbes(dir fs.FS) (*Proof, error) {
	names, err := fs.Glob(dir, "*.mlxfn")
	if err != nil || len(names) == 0 {
		return nil, diag.Errorf("mlxfn/probes", diag.Pos{}, "the folder has no .mlxfn files").
			WithHint("write them with scripts/oracle/mlxfn_probe.py")
	}
	proof := &Proof{Primitives: map[string]bool{}, Failed: map[string]error{}}
	files := map[string][]byte{}
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, diag.Errorf("mlxfn/read", diag.Pos{File: name}, "%v", err)
		}
		r := &reader{file: name, data: data}
		version := r.string("the MLX version")
		if r.err != nil {
			return nil, r.err
		}
		if proof.Version == "" {
			proof.Version = version
		}
		if version != proof.Version {
			return nil, diag.Errorf("mlxfn/probes", diag.Pos{File: name}, "written by MLX %q, while other files of the folder are by %q", clip(version), clip(proof.Version))
		}
		files[name] = data
	}
	for _, p := range ProbeSet(proof.Version) {
		name := p.Name + ".mlxfn"
		err := error(diag.Errorf("mlxfn/probes", diag.Pos{File: name}, "MLX wrote no such file"))
		if data, ok := files[name]; ok {
			err = CheckRoundTrip(&p, name, data)
		} else if why, e := fs.ReadFile(dir, p.Name+".error"); e == nil {
			err = diag.Errorf("mlxfn/probes", diag.Pos{File: name}, "MLX could not export it: %s", clip(strings.TrimSpace(string(why))))
		}
		switch primitive := p.Primitive(); {
		case err != nil:
			if proof.Failed[primitive] == nil {
				proof.Failed[primitive] = err
			}
			delete(proof.Primitives, primitive)
		case proof.Failed[primitive] == nil:
			proof.Primitives[primitive] = true
		}
	}
	return proof, nil
}

// CheckRoundTrip reports why data, which MLX exported for p, does not show that the
// primitive's layout is the table's.
func CheckRoundTrip(p *Probe, file string, data []byte) error {
	choose := func(version string) *layout {
		if l := layoutFor(version, nil); l != nil {
			return l
		}
		return unproven(version)
	}
	f, err := read(file, data, choose)
	if err != nil {
		return err
	}
	l := choose(f.Version)
	var again bytes.Buffer
	if err := write(&again, f, l); err != nil {
		return err
	}
	if !bytes.Equal(again.Bytes(), data) {
		return diag.Errorf("mlxfn/probes", diag.Pos{File: file}, "reading and writing it gives other bytes")
	}
	want, err := p.state(l)
	if err != nil || p.Dropped {
		return err
	}
	err = diag.Errorf("mlxfn/probes", diag.Pos{File: file}, "there is no %s in the trace", p.Primitive())
	for n := range f.Functions {
		for k := range f.Functions[n].Tape {
			e := &f.Functions[n].Tape[k]
			if e.Primitive != p.Primitive() {
				continue
			}
			wrong := slices.IndexFunc(want, func(w Field) bool {
				v, ok := e.Lookup(w.Name)
				return !ok || !sameValue(v, w.Value)
			})
			if wrong < 0 {
				return nil
			}
			v, _ := e.Lookup(want[wrong].Name)
			err = diag.Errorf("mlxfn/probes", diag.At(file, e.Offset), "%s.%s is %s, but %s was traced",
				e.Primitive, want[wrong].Name, formatValue(v), formatValue(want[wrong].Value))
		}
	}
	return err
}

// state decodes the probe's state, less the fields that l does not store.
func (p *Probe) state(l *layout) ([]Field, error) {
	var state []Field
	row := l.rows[p.Primitive()]
	for k := range row.Fields {
		spec := &row.Fields[k]
		text, ok := p.State[spec.Name]
		if !ok {
			return nil, fmt.Errorf("mlxfn: probes.json: %s does not say %s", p.Name, spec.Name)
		}
		v, err := spec.decode(text)
		if err != nil || !spec.Check(v) {
			return nil, fmt.Errorf("mlxfn: probes.json: %s.%s: %s is no value for it (%v)", p.Name, spec.Name, text, err)
		}
		state = append(state, Field{spec.Name, v})
	}
	return state, nil
}

func (s *FieldSpec) decode(text json.RawMessage) (any, error) {
	into := func(v any) error { return json.Unmarshal(text, v) }
	switch s.Kind {
	case Int, Size:
		var v int
		err := into(&v)
		return v, err
	case Enum, String:
		var v string
		err := into(&v)
		return v, err
	case Bool:
		var v bool
		err := into(&v)
		return v, err
	case Float:
		var v float32
		err := into(&v)
		return v, err
	case Double:
		var v float64
		err := into(&v)
		return v, err
	case DType:
		var v string
		err := into(&v)
		t, ok := graph.ParseDType(v)
		if err == nil && !ok {
			err = errors.New("no such dtype")
		}
		return t, err
	case Ints, Longs, Sizes:
		var v []int
		err := into(&v)
		return v, err
	case Dim3:
		var v [3]int
		err := into(&v)
		return v, err
	case ShapeUses:
		var v [][3]bool
		err := into(&v)
		uses := make([]ShapeUse, len(v))
		for k, u := range v {
			uses[k] = ShapeUse{u[0], u[1], u[2]}
		}
		return uses, err
	case OptFloat:
		var v *float32
		if err := into(&v); err != nil || v == nil {
			return OptionalFloat{}, err
		}
		return OptionalFloat{true, *v}, nil
	case ScalarArgs:
		var v []any
		err := into(&v)
		for k, a := range v {
			if x, ok := a.(float64); ok && x == math.Trunc(x) {
				v[k] = int(x)
			} else if ok {
				v[k] = float32(x)
			}
		}
		return v, err
	}
	return nil, errors.New("no such kind")
}

// file is a seed: one node over the inputs, all of whose outputs are returned.
func (p *Probe) file(l *layout) (*File, error) {
	state, err := p.state(l)
	if err != nil {
		return nil, err
	}
	var fn Function
	next := uint64(1)
	values := func(types []string) (vs []Value) {
		for _, text := range types {
			t, e := parseType(text)
			if e != nil {
				err = fmt.Errorf("mlxfn: probes.json: %s: %w", p.Name, e)
			}
			vs = append(vs, Value{next, t})
			next++
		}
		return vs
	}
	node := Entry{Primitive: p.Primitive(), State: state}
	fn.Inputs = values(p.Inputs)
	for _, v := range fn.Inputs {
		node.Inputs = append(node.Inputs, v.ID)
		fn.Tape = append(fn.Tape, Entry{Kind: Input, ID: v.ID, Outputs: []Value{v}})
	}
	node.Outputs = values(p.Outputs)
	node.ID = node.Outputs[0].ID
	for _, v := range node.Outputs {
		fn.Outputs = append(fn.Outputs, v.ID)
	}
	fn.Tape = append(fn.Tape, node)
	return &File{Version: l.version, Functions: []Function{fn}}, err
}

// parseType reads what TypeInfo.String prints.
func parseType(text string) (TypeInfo, error) {
	name, dims, ok := strings.Cut(strings.TrimSuffix(text, "]"), "[")
	t, known := graph.ParseDType(name)
	if !ok || !known {
		return TypeInfo{}, fmt.Errorf("%q is no type", text)
	}
	info := TypeInfo{DType: t}
	for _, d := range strings.FieldsFunc(dims, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(d)
		if err != nil {
			return TypeInfo{}, fmt.Errorf("%q is no type", text)
		}
		info.Shape = append(info.Shape, n)
	}
	return info, nil
}
