package models

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// TypeSource is a model's weights as far as building needs them: names and types.
type TypeSource interface {
	ParamType(name string) (graph.Type, bool)
	// Names yields every name there is, in an order of its own.
	Names() iter.Seq[string]
}

// params is the table of parameters that the cases of a program share.
type params struct {
	config   *Config
	src      TypeSource // nil: there are no weights
	table    map[string]*graph.Param
	matrices map[string]*matrixRecord
	issues   diag.List
}

// matrixRecord is a matrix, once for all cases.
type matrixRecord struct {
	quant                  *graph.Quant
	weight, scales, biases *graph.Param
}

// matrix is a weight in the graph being built: one value, or a quantized triplet.
type matrix struct {
	quant                  *graph.Quant // nil if not quantized
	weight, scales, biases value        // biases is graph.None in modes without
}

func (w matrix) groupSize() graph.Attr { return graph.N(int64(w.quant.GroupSize)) }
func (w matrix) bits() graph.Attr      { return graph.N(int64(w.quant.Bits)) }
func (w matrix) mode() graph.Attr      { return graph.Str(w.quant.Mode) }

func newParams(c *Config, src TypeSource) *params {
	return &params{config: c, src: src, table: map[string]*graph.Param{}, matrices: map[string]*matrixRecord{}}
}

// list returns the table sorted by name, as Program.Params wants it.
func (p *params) list() []*graph.Param {
	all := make([]*graph.Param, 0, len(p.table))
	for _, q := range p.table {
		all = append(all, q)
	}
	slices.SortFunc(all, func(a, b *graph.Param) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// fail reports a problem with a weight.
func (p *params) fail(code, name, format string, args ...any) *diag.Issue {
	i := diag.Errorf("weights/"+code, diag.Pos{File: p.config.File}, "%s: %s", name, fmt.Sprintf(format, args...))
	if len(p.issues) < maxIssues {
		p.issues.Add(i)
	}
	return i
}

// param returns the value of m's parameter of that name: a floating-point array.
func (m module) param(name string, shape ...int) value {
	return m.paramOf(m.b.config.DType, name, shape...)
}

// paramOf is param for one that mlx_lm.convert leaves in the type that it was published
// in, whatever the model's is.
func (m module) paramOf(dtype graph.DType, name string, shape ...int) value {
	q := m.b.params.floats(m.path+"."+name, dtype, dims(shape...))
	return m.b.g.Param(q.Name, q.Type)
}

// matrix returns m's parameter "weight", of that shape before quantization.
func (m module) matrix(shape ...int) matrix {
	r := m.b.params.matrix(m.path, shape)
	w := matrix{quant: r.quant, weight: m.b.g.Param(r.weight.Name, r.weight.Type), scales: graph.None, biases: graph.None}
	if r.scales != nil {
		w.scales = m.b.g.Param(r.scales.Name, r.scales.Type)
	}
	if r.biases != nil {
		w.biases = m.b.g.Param(r.biases.Name, r.biases.Type)
	}
	return w
}

// floats returns a parameter that is not quantized, adding it to the table first. dtype
// is its element type if there are no weights to ask.
func (p *params) floats(name string, dtype graph.DType, shape graph.Dims) *graph.Param {
	if q := p.table[name]; q != nil {
		return q
	}
	q := &graph.Param{Name: name, Type: p.typeOf(name, dtype, shape)}
	p.table[name] = q
	return q
}

// typeOf returns the type of a weight that must have that shape, and that element
// type if it is an integer one; floating-point ones may differ. A weight that
// does not fit is reported, and taken as if it did.
func (p *params) typeOf(name string, dtype graph.DType, shape graph.Dims) graph.Type {
	want := graph.T(dtype, shape...)
	if p.src == nil {
		return want
	}
	got, ok := p.src.ParamType(name)
	switch {
	case !ok:
		p.fail("missing", name, "the weight is missing; it should be %s", want).
			WithHint("the files may be incomplete: download the model again")
		return want
	case !slices.Equal(got.Shape, want.Shape):
		p.fail("shape", name, "has type %s; config.json asks for shape %s", got, shape)
		return want
	case dtype.IsFloat() && (got.DType == graph.BFloat16 || got.DType == graph.Float16 || got.DType == graph.Float32):
		return got
	case got.DType != dtype:
		p.fail("dtype", name, "has element type %s, which is not supported here", got.DType)
		return want
	}
	return got
}

// matrix returns the matrix of a module, adding its parameters to the table first.
// The last entry of shape is the number of columns, which quantization packs.
func (p *params) matrix(path string, shape []int) *matrixRecord {
	r := p.matrices[path]
	if r == nil {
		r = p.newMatrix(path, shape, p.quantOf(path, shape, path))
		p.matrices[path] = r
	}
	return r
}

// newMatrix adds a matrix to the table that is quantized as spec says, nil for not.
func (p *params) newMatrix(path string, shape []int, spec *QuantSpec) *matrixRecord {
	if spec == nil {
		return &matrixRecord{weight: p.floats(path+".weight", p.config.DType, dims(shape...))}
	}
	r := &matrixRecord{quant: &graph.Quant{Module: path, Mode: spec.Mode, Bits: spec.Bits, GroupSize: spec.GroupSize}}
	lead, columns := shape[:len(shape)-1], shape[len(shape)-1]
	part := func(name string, dtype graph.DType, last int) *graph.Param {
		q := &graph.Param{Name: path + "." + name, Quant: r.quant, Part: name}
		q.Type = p.typeOf(q.Name, dtype, dims(append(slices.Clone(lead), last)...))
		p.table[q.Name] = q
		return q
	}
	r.weight = part("weight", graph.Uint32, columns*spec.Bits/32)
	if spec.Mode != "affine" {
		r.scales = part("scales", graph.Uint8, columns/spec.GroupSize)
		return r
	}
	r.scales = part("scales", p.config.DType, columns/spec.GroupSize)
	r.biases = part("biases", p.config.DType, columns/spec.GroupSize)
	return r
}

// parts are the parameters of a matrix: one, or those of a quantized one.
func (r *matrixRecord) parts() []*graph.Param {
	all := []*graph.Param{r.weight, r.scales, r.biases}
	return slices.DeleteFunc(all, func(q *graph.Param) bool { return q == nil })
}

// quantOf decides whether and how a module is quantized, as mlx_lm.utils.load_model
// does: by its own entry in config.json, else by the weights that are there. Where
// there are none, all matrices are quantized that mlx_lm.convert would. at is where
// the weights are: path, or for a stack the first of its experts.
func (p *params) quantOf(path string, shape []int, at string) *QuantSpec {
	columns := shape[len(shape)-1]
	spec, named := (*QuantSpec)(nil), false
	if q := p.config.Quantization; q != nil {
		if spec, named = q.of(path); !named && (p.src != nil || columns%q.Default.GroupSize != 0) {
			spec = nil
		}
	}
	if !named && p.src != nil {
		scales, ok := p.src.ParamType(at + ".scales")
		if !ok {
			return nil
		}
		weight, ok := p.src.ParamType(at + ".weight")
		if !ok {
			p.fail("missing", at+".weight", "the weight is missing, and its scales are there")
			return nil
		}
		s, ok := inferQuant(weight, scales, columns)
		if !ok {
			p.fail("quantization", at, "%s with scales %s is no known quantization of %d columns", weight, scales, columns)
			return nil
		}
		spec = &s
	}
	if spec != nil && (columns%spec.GroupSize != 0 || columns*spec.Bits%32 != 0) {
		p.fail("quantization", path, "%d columns cannot be quantized to %d bits in groups of %d", columns, spec.Bits, spec.GroupSize)
		return nil
	}
	return spec
}

// stack makes the matrix of m out of those of its experts, if the checkpoint has one
// module an expert: the step that mlx-lm calls sanitize. expert is the module of
// expert i.
func (m module) stack(shape []int, expert func(i int) string) {
	p := m.b.params
	if p.src == nil || p.matrices[m.path] != nil {
		return
	}
	if _, ok := p.src.ParamType(expert(0) + ".weight"); !ok {
		return
	}
	spec := p.quantOf(m.path, shape, expert(0))
	var all [][]*graph.Param // the experts' parts
	for i := range shape[0] {
		if _, ok := p.src.ParamType(expert(i) + ".weight"); !ok {
			p.fail("missing", expert(i)+".weight", "the weight is missing, and that of expert 0 is there")
			break
		}
		all = append(all, p.newMatrix(expert(i), shape[1:], spec).parts())
	}
	r := &matrixRecord{}
	if spec != nil {
		r.quant = &graph.Quant{Module: m.path, Mode: spec.Mode, Bits: spec.Bits, GroupSize: spec.GroupSize}
	}
	for k, to := range []**graph.Param{&r.weight, &r.scales, &r.biases}[:len(all[0])] {
		first := all[0][k]
		_, suffix, _ := strings.Cut(first.Name, expert(0)+".")
		q := &graph.Param{Name: m.path + "." + suffix, Quant: r.quant, Part: first.Part, From: &graph.Derived{Op: "stack", Axis: -len(shape)}}
		q.Type = graph.T(first.Type.DType, append(dims(shape[0]), first.Type.Shape...)...)
		for _, parts := range all {
			if t := parts[k].Type.DType; t != first.Type.DType {
				p.fail("dtype", parts[k].Name, "has element type %s, and expert 0 has %s", t, first.Type.DType)
			}
			q.From.Args = append(q.From.Args, parts[k].Name)
		}
		p.table[q.Name] = q
		*to = q
	}
	p.matrices[m.path] = r
}

// reportUnused reports the weights that no case reads.
func (p *params) reportUnused(drops func(string) bool) {
	if p.src == nil {
		return
	}
	var names []string
	for name := range p.src.Names() {
		ofAdapter := p.config.adapter != nil && p.config.adapter.tensors.Get(name) != nil // reportAdapter's
		if p.table[name] == nil && !ofAdapter && !drops(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		p.fail("unused", name, "a %s model of this configuration has no such weight", p.config.ModelType)
	}
}
