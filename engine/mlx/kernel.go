//go:build mlx

package mlx

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// RunsKernel reports why this engine cannot launch a kernel, or nil. A program is
// loaded with the kernels that it can launch, and with the reference graphs of others.
func (e *mlxEngine) RunsKernel(s *kernels.Spec) error {
	switch {
	case e.catalog == nil || e.catalog.SpecOf(s.Op()) == nil:
		return fmt.Errorf("the engine was not given kernel %s", s.Name)
	case e.device == "cpu":
		return hostRuns(s)
	case s.Code == nil:
		return fmt.Errorf("kernel %s has no source", s.Name)
	}
	return nil
}

// Launches implements engine.KernelRunner. On a GPU, where MLX launches by itself, it
// counts the calls that were added to MLX's graph.
func (e *mlxEngine) Launches() map[string]int {
	if e.device == "cpu" {
		return hostLaunches()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.launches)
}

var _ engine.KernelRunner = (*mlxEngine)(nil)

// launch is a kernel node: what its calls have in common.
type launch struct {
	spec    *kernels.Spec
	scope   string
	values  *kernels.Values
	ints    []dim
	types   []graph.DType // of the results
	shapes  []dims
	results []graph.Type
	scalars []bool // operands without dimensions: GPU kernels see them as arrays of one
}

// kernelOf makes the emit of a kernel node.
func (p *plan) kernelOf(e *mlxEngine, g *graph.Graph, n *node) (emitMany, error) {
	var spec *kernels.Spec
	if e.catalog != nil {
		spec = e.catalog.SpecOf(n.Op)
	}
	if spec == nil {
		return nil, diag.Errorf("engine/kernel", diag.Pos{}, "the engine was not given kernel %s", strings.TrimPrefix(n.Op.Name, graph.KernelPrefix)).WithScope(n.Scope).
			WithHint("run the program with its kernels expanded to their reference graphs")
	}
	if err := e.RunsKernel(spec); err != nil {
		return nil, diag.Errorf("engine/kernel", diag.Pos{}, "%v", err).WithScope(n.Scope)
	}
	l := &launch{spec: spec, scope: n.Scope}
	var err error
	if l.values, err = spec.Values(n.types, n.Attrs); err != nil {
		return nil, diag.Errorf("engine/kernel", diag.Pos{}, "%s: %v", n.Op.Name, err).WithScope(n.Scope)
	}
	for _, d := range l.values.Ints {
		l.ints = append(l.ints, p.dim(d))
	}
	for _, v := range n.Out {
		t := g.Type(v)
		l.results, l.types = append(l.results, t), append(l.types, t.DType)
		l.shapes = append(l.shapes, p.dims(t.Shape))
	}
	for _, t := range n.types {
		l.scalars = append(l.scalars, t.DType != graph.NoDType && t.Rank() == 0)
	}
	if e.device == "cpu" {
		k, err := hostKernelOf(spec)
		return l.differentiable(p, e, n, l.onHost(k)), err
	}
	emit := l.onGPU(p, kernels.Target(e.device))
	return l.differentiable(p, e, n, func(f *frame, in []array) []array {
		e.mu.Lock()
		e.launches[spec.Name]++
		e.mu.Unlock()
		return emit(f, in)
	}), nil
}

// numbers returns the integers of a call, good for this step.
func (l *launch) numbers(f *frame) []int {
	at := len(f.ints)
	for _, d := range l.ints {
		f.ints = append(f.ints, d.in(f))
	}
	return f.ints[at:len(f.ints):len(f.ints)]
}

func (l *launch) geometry(numbers []int) (kernels.Geometry, error) {
	wide := make([]int64, len(numbers))
	for i, n := range numbers {
		wide[i] = int64(n)
	}
	return l.spec.Geometry(wide)
}

// onGPU launches the source through MLX's custom kernels. Numbers are constants of the
// text, so that loops unroll: a text is made for each batch that turns up. Those that
// change from call to call (kv_len, the length of a prompt) come as one more operand
// instead: compiling takes a second.
func (l *launch) onGPU(p *plan, target kernels.Target) emitMany {
	grows := make([]bool, len(l.ints))
	for i, d := range l.values.Ints {
		grows[i] = slices.ContainsFunc(d.Symbols(nil), func(s string) bool { return s != graph.SymBatch })
	}
	var made []*gpuKernel
	var last []int
	var g kernels.Geometry
	return func(f *frame, in []array) []array {
		numbers := l.numbers(f)
		if last == nil || !slices.Equal(last, numbers) {
			var err error
			if g, err = l.geometry(numbers); err != nil {
				f.refuse("kernel."+l.spec.Name, "%v", err)
				return nil
			}
			last = append(last[:0], numbers...)
		}
		same := func(k *gpuKernel) bool {
			for i, n := range numbers {
				if !grows[i] && k.numbers[i] != n {
					return false
				}
			}
			return true
		}
		at := slices.IndexFunc(made, same)
		if at < 0 {
			k, err := l.text(target, numbers, grows)
			if err != nil {
				f.refuse("kernel."+l.spec.Name, "%v", err)
				return nil
			}
			at, made = len(made), append(made, k)
			p.gpu = append(p.gpu, k)
		}
		operands := make([]array, 0, len(in)+1)
		for i, a := range in {
			if !a.ok() {
				continue
			}
			if l.scalars[i] {
				a = f.reshape(a, []int{1})
			}
			operands = append(operands, a)
		}
		if k := made[at]; len(k.text.Dynamic) > 0 {
			operands = append(operands, f.int32s(k.text.Dynamic, numbers))
		}
		return made[at].apply(f, operands, l, g)
	}
}

// text assembles the source for these numbers.
func (l *launch) text(target kernels.Target, numbers []int, grows []bool) (*gpuKernel, error) {
	v := *l.values
	v.Ints = slices.Clone(v.Ints)
	for i, n := range numbers {
		if !grows[i] {
			v.Ints[i] = graph.N(int64(n))
		}
	}
	text, err := l.spec.Assemble(target, &v, l.types)
	if err != nil {
		return nil, err
	}
	text.Minify(target)
	if target == kernels.CUDA {
		shorten(text)
	}
	return newGPUKernel(target, text, slices.Clone(numbers))
}
