package models

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/safetensors"
	"zmlx-rewrite/models/weights"
)

// This file is mlx_lm/tuner: utils.py (load_adapters, linear_to_lora_layers), lora.py and
// dora.py as far as they compute. An adapter is the folder that mlx_lm.lora writes:
// adapter_config.json and adapters.safetensors.

// adapter is an adapter's configuration, and the names of its tensors.
type adapter struct {
	file      string // of the tensors, for messages
	dora      bool
	full      bool // the tensors take the place of the model's
	rank      int
	scale     float64
	numLayers int      // the last so many layers have one; all, if it is not above 0
	keys      []string // modules, by their path in a layer or in the model; nil: all of the layers
	tensors   *weights.Store
	layers    int             // of the model
	asked     map[string]bool // modules that were asked for their adapter
}

// openAdapter opens an adapter's folder. Close its tensors after use.
func openAdapter(dir string) (*adapter, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, diag.Errorf("adapter/open", diag.Pos{File: dir}, "there is no such folder").
			WithHint("--adapter-path takes the folder that mlx_lm.lora wrote, with adapter_config.json and adapters.safetensors")
	}
	path := filepath.Join(dir, "adapter_config.json")
	text, err := readFile(path, maxConfigBytes)
	if err != nil {
		return nil, err
	}
	a, err := parseAdapter(path, text)
	if err != nil {
		return nil, err
	}
	a.file = filepath.Join(dir, "adapters.safetensors")
	a.tensors, _, err = safetensors.Open(a.file)
	return a, err
}

// parseAdapter reads an adapter_config.json.
func parseAdapter(path string, text []byte) (*adapter, error) {
	var issues diag.List
	f := readJSON(path, text, &issues)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	a := &adapter{asked: map[string]bool{}}
	switch kind := f.textOr("fine_tune_type", "lora"); kind {
	case "lora":
	case "dora":
		a.dora = true
	case "full":
		a.full = true
	default:
		f.fail("fine_tune_type", "unsupported", "%q is not supported", kind).WithHint("supported: lora, dora, full")
	}
	if !a.full {
		a.parameters(f)
	}
	return a, issues.Err()
}

// parameters reads what linear_to_lora_layers is given.
func (a *adapter) parameters(f *fields) {
	a.numLayers = f.int("num_layers", -1, maxLayers)
	if f.missing("lora_parameters") {
		return
	}
	p := f.object("lora_parameters")
	if p == nil {
		return
	}
	a.rank = p.int("rank", 1, maxSize)
	if !p.has("scale") && p.has("alpha") {
		p.fail("alpha", "unsupported", "mlx-lm's adapters have a scale in place of alpha").WithHint("scale is alpha / rank in other frameworks")
	} else if !p.missing("scale") {
		a.scale = p.numberOr("scale", 0)
	}
	if p.has("keys") {
		if a.keys = p.texts("keys"); a.keys == nil {
			a.keys = []string{}
		}
	}
}

func (a *adapter) close() { a.tensors.Close() }

// fail is a problem with one of the adapter's tensors.
func (a *adapter) fail(code, name, format string, args ...any) *diag.Issue {
	return diag.Errorf("adapter/"+code, diag.Pos{File: a.file}, name+": "+format, args...)
}

// layerOf takes the path of a module apart: the number of its layer, and its path there.
func layerOf(path string) (layer int, rest string, ok bool) {
	names := strings.Split(path, ".")
	at := slices.Index(names, "layers")
	if at < 0 || at+2 >= len(names) {
		return 0, "", false
	}
	layer, err := strconv.Atoi(names[at+1])
	return layer, strings.Join(names[at+2:], "."), err == nil
}

// has reports whether mlx-lm makes the module one with an adapter.
func (a *adapter) has(path string) bool {
	if slices.Contains(a.keys, path) {
		return true
	}
	layer, rest, ok := layerOf(path)
	return ok && (a.numLayers <= 0 || layer >= a.layers-a.numLayers) && (a.keys == nil || slices.Contains(a.keys, rest))
}

// leaves are the names of an adapter's parameters.
var leaves = []string{"lora_a", "lora_b", "m"}

// adapt makes the model one with the adapter of a folder.
func (m *Model) adapt(dir string) error {
	if m.Weights == nil {
		return diag.Errorf("adapter/open", diag.Pos{File: m.Path}, "has no weights, so an adapter has nothing to change").WithHint("give the folder of the model")
	}
	a, err := openAdapter(dir)
	if err != nil {
		return err
	}
	return m.take(a)
}

// take adds the tensors of an adapter to the weights, or puts them in the place of those of
// their names. The weights are closed with the new ones.
func (m *Model) take(a *adapter) error {
	for t := range m.Weights.All() {
		if layer, _, ok := layerOf(t.Name); ok && !m.Config.net.drops(t.Name) {
			a.layers = max(a.layers, layer+1)
		}
	}
	var issues diag.List
	for t := range a.tensors.All() {
		if len(issues) == maxIssues {
			break
		}
		old := m.Weights.Get(t.Name)
		path, leaf := t.Name, ""
		if at := strings.LastIndexByte(path, '.'); at >= 0 {
			path, leaf = path[:at], path[at+1:]
		}
		switch {
		case a.full && old == nil:
			issues.Add(a.fail("unused", t.Name, "the model has no such parameter"))
		case a.full && !slices.Equal(old.Shape, t.Shape):
			issues.Add(a.fail("shape", t.Name, "has shape %v, and the model's parameter %v", t.Shape, old.Shape))
		case !a.full && (!slices.Contains(leaves, leaf) || leaf == "m" && !a.dora):
			issues.Add(a.fail("unused", t.Name, "is no parameter of an adapter"))
		case !a.full && !a.has(path):
			issues.Add(a.fail("unused", t.Name, "adapter_config.json gives this module no adapter: num_layers is %d of %d, and keys are %q", a.numLayers, a.layers, a.keys))
		case !t.DType.IsFloat():
			issues.Add(a.fail("dtype", t.Name, "has element type %s", t.DType))
		}
	}
	if err := issues.Err(); err != nil {
		a.close()
		return err
	}
	old := m.Weights
	w := weights.NewStore(old, a.tensors) // which closing w closes
	m.Weights = w
	for t := range old.All() {
		if by := a.tensors.Get(t.Name); by != nil {
			t = by
		}
		if err := w.Add(t); err != nil {
			return err
		}
	}
	if !a.full {
		for t := range a.tensors.All() {
			if err := w.Add(t); err != nil {
				return err
			}
		}
		m.Config.adapter = a
	}
	return nil
}

// lora is the adapter of one module: the values of its parameters.
type lora struct {
	*adapter
	a, b value
	m    value // graph.None but for DoRA
}

// kinds of modules that linear_to_lora_layers knows.
const (
	kindLinear    = "Linear"
	kindSwitch    = "SwitchLinear"
	kindEmbedding = "Embedding"
)

// lora returns the adapter of module m, nil if it has none, or one that adds zeros: mlx-lm
// begins with those where the file has no lora_b. shapes are those of lora_a and lora_b.
func (m module) lora(kind string, shapes func(rank int) (a, b []int)) *lora {
	ad := m.b.config.adapter
	if ad == nil || m.b.err != nil || !ad.has(m.path) {
		return nil
	}
	ad.asked[m.path] = true
	if ad.dora && kind != kindLinear {
		m.refuse(ad.fail("unsupported", m.path, "DoRA of a module of class %s is not supported", kind).WithHint("mlx-lm has it for Linear, and for embeddings without quantization"))
		return nil
	}
	there := func(leaf string) bool { return ad.tensors.Get(m.path+"."+leaf) != nil }
	a, b := there("lora_a"), there("lora_b")
	switch {
	case ad.dora && !(a && b && there("m")):
		// Without one of them mlx-lm begins to train; it would not compute what the model does.
		m.refuse(ad.fail("missing", m.path, "its lora_a, lora_b or m is missing, and adapter_config.json gives the module DoRA"))
		return nil
	case !a && b:
		m.refuse(ad.fail("missing", m.path+".lora_a", "the tensor is missing, and its lora_b is there"))
		return nil
	}
	as, bs := shapes(ad.rank)
	l := &lora{adapter: ad, m: graph.None}
	ok := true
	param := func(leaf string, shape []int) (v value) {
		if there(leaf) {
			var fits bool
			v, fits = m.adapterParam(leaf, shape)
			ok = ok && fits
		}
		return v
	}
	l.a, l.b = param("lora_a", as), param("lora_b", bs)
	if ad.dora {
		l.m = param("m", bs[1:])
	}
	if !b || !ok {
		return nil
	}
	return l
}

// refuse reports a problem of m's adapter. All cases of a program have it.
func (m module) refuse(i *diag.Issue) {
	p := m.b.params
	said := slices.ContainsFunc(p.issues, func(old *diag.Issue) bool { return old.Error() == i.Error() })
	if !said && len(p.issues) < maxIssues {
		p.issues.Add(i)
	}
}

// adapterParam is a parameter of the adapter of m.
func (m module) adapterParam(leaf string, shape []int) (v value, ok bool) {
	p, ad, name := m.b.params, m.b.config.adapter, m.path+"."+leaf
	t := ad.tensors.Get(name)
	if !slices.Equal(t.Shape, shape) {
		m.refuse(ad.fail("shape", name, "has shape %v; the module and a rank of %d ask for %v", t.Shape, ad.rank, shape))
		return 0, false
	}
	q := p.table[name]
	if q == nil {
		q = &graph.Param{Name: name, Type: graph.T(t.DType, dims(shape...)...)}
		p.table[name] = q
	}
	return m.b.g.Param(q.Name, q.Type), true
}

// added is y + (scale * z).astype(x.dtype), with which all of mlx-lm's LoRA modules end.
func (l *lora) added(m module, y, z value, t graph.DType) value {
	return m.plus(y, m.astype(l.scaled(m, z), t))
}

// scaled is scale * z.
func (l *lora) scaled(m module, z value) value {
	t := m.typeOf(z).DType
	return m.multiply(m.scalar(t, float64(float32(l.scale))), z)
}

// product is (x @ a) @ b.
func (l *lora) product(m module, x, a, b value) value {
	return m.add(opMatmul, []value{m.add(opMatmul, []value{x, a}), b})
}

// linear is LoRALinear behind the product y of x and the module's weight.
func (l *lora) linear(m module, x, y value) value {
	return l.added(m, y, l.product(m, x, l.a, l.b), m.typeOf(x).DType)
}

// doraLinear is DoRALinear.__call__.
func (l *lora) doraLinear(m module, x value, w matrix, bias value) value {
	weight := w.weight
	if w.quant != nil {
		weight = m.add(opDequantize, []value{w.weight, w.scales, w.biases}, w.groupSize(), w.bits(), w.mode())
	}
	t := m.typeOf(x).DType
	out := l.linear(m, x, m.add(opMatmul, []value{x, m.transpose(weight, 1, 0)}))
	adapted := m.plus(weight, m.add(opMatmul, []value{l.scaled(m, m.transpose(l.b, 1, 0)), m.transpose(l.a, 1, 0)}))
	// mx.linalg.norm(adapted, axis=1)
	denom := m.add(opSqrt, []value{m.add(opSum, []value{m.add(opSquare, []value{adapted})}, dims(-1))})
	out = m.multiply(m.astype(m.divide(l.m, denom), t), out)
	if bias != graph.None {
		out = m.plus(out, bias)
	}
	return out
}

// switchLinear is LoRASwitchLinear behind the result y of the experts.
func (l *lora) switchLinear(m module, x, indices, y value) value {
	sorted := graph.Flag(m.b.sorted)
	z := m.add(opGatherMM, []value{x, m.transpose(l.a, 0, 2, 1), graph.None, indices}, sorted)
	z = m.add(opGatherMM, []value{z, m.transpose(l.b, 0, 2, 1), graph.None, indices}, sorted)
	return l.added(m, y, z, m.typeOf(x).DType)
}

// embedding is LoRAEmbedding.__call__ behind the rows y of the tokens.
func (l *lora) embedding(m module, tokens, y value) value {
	z := m.add(opMatmul, []value{m.take(l.a, tokens, 0), l.b})
	return l.added(m, y, z, m.typeOf(y).DType)
}

// asLinear is LoRAEmbedding.as_linear behind the logits y of x.
func (l *lora) asLinear(m module, x, y value) value {
	return l.added(m, y, l.product(m, x, m.transpose(l.b, 1, 0), m.transpose(l.a, 1, 0)), m.typeOf(x).DType)
}

// reportAdapter reports tensors of the adapter that no module took.
func (p *params) reportAdapter() {
	ad := p.config.adapter
	if ad == nil {
		return
	}
	for t := range ad.tensors.All() {
		if path := t.Name[:strings.LastIndexByte(t.Name, '.')]; !ad.asked[path] && len(p.issues) < maxIssues {
			p.issues.Add(ad.fail("unused", t.Name, "a %s model of this configuration has no Linear, SwitchLinear or Embedding there", p.config.ModelType))
		}
	}
}
