package bridge

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/graph"
)

// Standalone is a rule at one place of a model, to be written as a Python module that needs
// MLX alone.
type Standalone struct {
	Rule, Doc, Where string
	Exact            bool // the rule's two sides have the same bits
	Target           string
	Before, After    *graph.Graph // without symbols; outputs of the same names in the same order
	Params           []*graph.Param
	Launcher         Launcher
}

var identifier = regexp.MustCompile(`[^A-Za-z0-9_]`)

// Text writes the module: reference and fused, the same in MLX's operations and as the rule has
// it, inputs for both, tests, and a benchmark.
func (s *Standalone) Text() (string, error) {
	m := NewModule()
	m.named = true
	before, err := renamed(s.Before)
	if err != nil {
		return "", err
	}
	after, err := renamed(s.After)
	if err != nil {
		return "", err
	}
	var bodies [2]string
	var calls [2]Call
	var taken [2]*Step
	for i, g := range []*graph.Graph{before, after} {
		ev := &Events{Inputs: make([]int, len(g.Inputs())), Outputs: make([]int, len(g.Outputs()))}
		for k := range ev.Inputs {
			ev.Inputs[k] = -1
		}
		cut, err := Cut(g, ev)
		if err != nil {
			return "", err
		}
		launcher := s.Launcher
		if i == 0 {
			launcher = nil
		}
		if taken[i], err = m.Write(cut, launcher); err != nil {
			return "", err
		}
		if len(taken[i].Calls) != 1 {
			return "", fmt.Errorf("%s is %d functions", s.Rule, len(taken[i].Calls))
		}
		calls[i] = taken[i].Calls[0]
		text := m.Functions[calls[i].Function].Source
		name := []string{"reference", "fused"}[i]
		bodies[i] = strings.Replace(text, "def "+m.Functions[calls[i].Function].Name, "def "+name, 1)
		// Results in the order of the graph's outputs.
		var order []string
		for _, o := range g.Outputs() {
			order = append(order, strconv.Itoa(slices.Index(calls[i].Out, taken[i].Taken[o.Name])))
		}
		bodies[i] = reorder(bodies[i], order)
	}
	if bodies[0] == strings.Replace(bodies[1], "def fused", "def reference", 1) {
		return "", fmt.Errorf("%s is the same in MLX's operations on this target", s.Rule)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\"\"\"%s\n\n%s\n\nWritten by zmlx-rewrite from rule %s, at %s, for %s.\nIt needs MLX alone. python FILE runs the tests and the benchmark.\n\"\"\"\n\nimport time\n\nimport mlx.core as mx\n", s.Rule+".", strings.TrimSpace(s.Doc), s.Rule, s.Where, s.Target)
	for _, name := range slices.Sorted(maps.Keys(m.Constants)) {
		c := m.Constants[name]
		data, _ := base64.StdEncoding.DecodeString(c.Data)
		fmt.Fprintf(&b, "\n%s = %s\n", name, constantText(c, data))
	}
	maker := "metal_kernel"
	if s.Target == "cuda" {
		maker = "cuda_kernel"
	}
	for _, k := range m.Kernels {
		fmt.Fprintf(&b, "\n%s_header = %s\n\n%s_source = %s\n\nk_%s = mx.fast.%s(\n    name=%q,\n    input_names=%s,\n    output_names=%s,\n    source=%s_source,\n    header=%s_header,\n)\n",
			k.Name, rawString(k.Header), k.Name, rawString(k.Source), k.Name, maker, k.Name, list(k.Inputs), list(k.Results), k.Name, k.Name)
	}
	b.WriteString("\n\n" + bodies[0] + "\n\n" + bodies[1] + "\n\n")
	if err := s.prepare(&b, calls); err != nil {
		return "", err
	}
	read := map[string]bool{}
	for _, c := range calls {
		for _, name := range slices.Concat(c.In, c.Weights) {
			read[name] = true
		}
	}
	s.inputs(&b, before, read)
	rule := "1e-5 if x.dtype == mx.float32 else 4e-2"
	if s.Exact {
		rule = "0"
	}
	fmt.Fprintf(&b, trailer, rule, strings.Join(calls[0].names(), ", "), strings.Join(calls[1].names(), ", "))
	return b.String(), nil
}

func (c Call) names() []string {
	var all []string
	for _, n := range slices.Concat(c.In, c.Weights) {
		all = append(all, fmt.Sprintf("given[%q]", n))
	}
	return all
}

// renamed gives inputs and parameters names that Python has.
func renamed(g *graph.Graph) (*graph.Graph, error) {
	out := graph.New()
	to := make([]graph.ValueID, g.NumValues())
	for _, v := range g.Inputs() {
		to[v] = out.Input(identifier.ReplaceAllString(g.InputName(v), "_"), g.Type(v))
	}
	for id := range g.NumNodes() {
		n := g.Node(graph.NodeID(id))
		switch n.Op.Name {
		case "input":
			continue
		case "param":
			to[n.Out[0]] = out.Param(identifier.ReplaceAllString(g.InputName(n.Out[0]), "_"), g.Type(n.Out[0]))
			continue
		case "constant":
			to[n.Out[0]] = out.Constant(g.Literal(n.Out[0]))
			continue
		}
		in := make([]graph.ValueID, len(n.In))
		for i, v := range n.In {
			if in[i] = v; v != graph.None {
				in[i] = to[v]
			}
		}
		vs, err := out.Add(n.Op, n.Scope, in, n.Attrs...)
		if err != nil {
			return nil, err
		}
		for i, v := range vs {
			to[n.Out[i]] = v
		}
	}
	for _, o := range g.Outputs() {
		out.Output(o.Name, to[o.Value])
	}
	return out, nil
}

// reorder puts a function's results into an order.
func reorder(body string, order []string) string {
	at := strings.LastIndex(body, "    return (")
	results := strings.Split(strings.TrimSuffix(strings.TrimSpace(body[at+len("    return ("):]), ",)"), ", ")
	picked := make([]string, len(order))
	for i, o := range order {
		k, _ := strconv.Atoi(o)
		picked[i] = results[k]
	}
	return body[:at] + "    return " + strings.Join(picked, ", ") + ",\n"
}

// prepare writes how weights are made of others, once.
func (s *Standalone) prepare(b *strings.Builder, calls [2]Call) error {
	b.WriteString("def prepare(given):\n    \"\"\"Weights that fused reads and reference does not, made once of those that it reads.\"\"\"\n")
	byName := map[string]*graph.Param{}
	for _, p := range s.Params {
		byName[identifier.ReplaceAllString(p.Name, "_")] = p
	}
	for _, name := range calls[1].Weights {
		p := byName[name]
		if p == nil || p.From == nil {
			continue
		}
		if p.From.Op != "concat" {
			return fmt.Errorf("%s is made by %s, which is not written out here", name, p.From.Op)
		}
		var args []string
		for _, a := range p.From.Args {
			args = append(args, fmt.Sprintf("given[%q]", identifier.ReplaceAllString(a, "_")))
		}
		fmt.Fprintf(b, "    given[%q] = mx.concatenate([%s], axis=%d)\n", name, strings.Join(args, ", "), p.From.Axis)
	}
	b.WriteString("    return given\n\n\n")
	return nil
}

// inputs writes a function that draws them.
func (s *Standalone) inputs(b *strings.Builder, g *graph.Graph, read map[string]bool) {
	experts := int64(2)
	for _, v := range g.Params() {
		if t := g.Type(v); t.Rank() == 3 {
			if n, ok := t.Shape[0].Const(); ok {
				experts = n
			}
		}
	}
	b.WriteString("def inputs(seed=0, draw=None):\n    \"\"\"Arrays of the shapes at the place that this was written from.\"\"\"\n    mx.random.seed(seed)\n    draw = draw or (lambda shape: mx.random.normal(shape))\n    given = {}\n")
	line := func(name string, t graph.Type, weight bool) {
		if !read[name] && !weight {
			return
		}
		shape, _ := tuple(t.Shape)
		if len(t.Shape) == 0 {
			shape = "()"
		}
		switch {
		case t.DType == graph.Uint32 && weight:
			fmt.Fprintf(b, "    given[%q] = mx.random.randint(0, 2**16, %s).astype(mx.uint32) * 2**16 + mx.random.randint(0, 2**16, %s).astype(mx.uint32)\n", name, shape, shape)
		case t.DType.IsInteger() && len(t.Shape) == 0:
			fmt.Fprintf(b, "    given[%q] = mx.array(3, mx.%s)\n", name, pyDType(t.DType))
		case t.DType.IsInteger():
			fmt.Fprintf(b, "    given[%q] = mx.random.randint(0, %d, %s).astype(mx.%s)\n", name, experts, shape, pyDType(t.DType))
		case weight:
			fmt.Fprintf(b, "    given[%q] = (0.1 * mx.random.normal(%s)).astype(mx.%s)\n", name, shape, pyDType(t.DType))
		default:
			fmt.Fprintf(b, "    given[%q] = draw(%s).astype(mx.%s)\n", name, shape, pyDType(t.DType))
		}
	}
	for _, v := range g.Inputs() {
		line(g.InputName(v), g.Type(v), false)
	}
	params := g.Params()
	for _, name := range slices.Sorted(maps.Keys(params)) {
		line(name, g.Type(params[name]), true)
	}
	b.WriteString("    return prepare(given)\n\n\n")
}

// constantText writes a constant so that people can read a number in it.
func constantText(c Constant, data []byte) string {
	if t, ok := graph.ParseDType(c.DType); ok {
		l := &graph.Literal{DType: t, Shape: c.Shape, Data: data}
		if v, ok := l.Scalar(); ok {
			return fmt.Sprintf("mx.array(%s, mx.%s)", pyFloat(v), pyDType(t))
		}
		n := len(data) / max(1, t.Size())
		values := make([]string, n)
		for i := range values {
			values[i] = pyFloat(graph.DecodeElem(t, data[i*t.Size():]))
		}
		return fmt.Sprintf("mx.array([%s], mx.%s).reshape(%s)", strings.Join(values, ", "), pyDType(t), list(c.Shape))
	}
	return "None"
}

func list[T any](items []T) string {
	parts := make([]string, len(items))
	for i, x := range items {
		if s, ok := any(x).(string); ok {
			parts[i] = strconv.Quote(s)
		} else {
			parts[i] = fmt.Sprint(x)
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// rawString writes a text as a Python literal over several lines.
func rawString(s string) string {
	if !strings.Contains(s, `"""`) && !strings.HasSuffix(s, `\`) && !strings.HasSuffix(s, `"`) {
		return `r"""` + s + `"""`
	}
	return strconv.Quote(s)
}

const trailer = `def close(x, y):
    """Whether a result of fused is as good as that of reference."""
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if not mx.issubdtype(x.dtype, mx.floating):
        return bool(mx.array_equal(x, y))
    if not bool(mx.array_equal(mx.isnan(x), mx.isnan(y))):
        return False
    limit = %s  # of the size of the result
    x, y = (mx.where(mx.isnan(v), 0, v).astype(mx.float32) for v in (x, y))
    size = mx.maximum(mx.sqrt(mx.mean(mx.square(y))), 1e-30)
    return bool(mx.sqrt(mx.mean(mx.square(x - y))) <= limit * size)


def both(given):
    return reference(%s), fused(%s)


def check(what, given):
    want, got = both(given)
    bad = [i for i, (x, y) in enumerate(zip(got, want)) if not close(x, y)]
    print(f"{'FAILED' if bad else 'passed'}  {what}" + (f": results {bad}" if bad else ""))
    return not bad


def lattice(shape):
    """Few values, so that there are ties."""
    return mx.random.randint(-2, 3, shape) * 0.5


def with_nan(shape):
    """One element that is no number."""
    x = mx.random.normal(shape)
    return mx.where((mx.arange(x.size) == 1).reshape(shape), float("nan"), x)


def benchmark(seconds=2.0):
    given, best = inputs(), [float("inf")] * 2
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, pick in enumerate((0, 1)):
            start = time.perf_counter()
            for _ in range(20):
                mx.async_eval(both(given)[pick])
            mx.synchronize()
            best[i] = min(best[i], (time.perf_counter() - start) / 20)
    print(f"reference {1e6 * best[0]:.1f} µs, fused {1e6 * best[1]:.1f} µs: {best[0] / best[1]:.2f} x")


if __name__ == "__main__":
    good = [check(f"random inputs, seed {seed}", inputs(seed)) for seed in range(5)]
    good.append(check("ties", inputs(0, lattice)))
    good.append(check("a NaN", inputs(0, with_nan)))
    benchmark()
    raise SystemExit(0 if all(good) else 1)
`
