package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models"
	"zmlx-rewrite/models/chattemplate"
	"zmlx-rewrite/models/tokenizer"
	"zmlx-rewrite/verify/whole"
)

// textOptions are mlx-lm's flags for making text.
type textOptions struct {
	prompts     []string
	system      string
	maxTokens   int
	temp        float64
	topP, minP  float64
	topK        int
	seed        uint64
	ignoreChat  bool
	prefillStep int
	ignoreEOS   bool
}

func (t *textOptions) flags(c *cobra.Command, defaultTokens int) {
	f := c.Flags()
	f.StringArrayVarP(&t.prompts, "prompt", "p", nil, "`text` to go on from; - reads standard input; may be repeated")
	f.StringVar(&t.system, "system-prompt", "", "`text` of the system message")
	f.IntVarP(&t.maxTokens, "max-tokens", "m", defaultTokens, "make at most `n` tokens")
	f.BoolVar(&t.ignoreChat, "ignore-chat-template", false, "feed the prompt as it is")
	f.IntVar(&t.prefillStep, "prefill-step-size", decode.PrefillStep, "tokens of one chunk of the prompt")
	f.BoolVar(&t.ignoreEOS, "ignore-eos", false, "go on after the end token, for measurements")
}

func (t *textOptions) samplingFlags(c *cobra.Command) {
	f := c.Flags()
	f.Float64Var(&t.temp, "temp", 0, "temperature; 0 takes the most likely token")
	f.Float64Var(&t.topP, "top-p", 0, "keep the most likely tokens up to this share; 0 keeps all")
	f.Float64Var(&t.minP, "min-p", 0, "keep tokens of at least this share of the most likely one's probability")
	f.IntVar(&t.topK, "top-k", 0, "keep this many tokens; 0 keeps all")
	f.Uint64Var(&t.seed, "seed", 0, "seed of the random numbers")
}

func (t *textOptions) sampler() (decode.Sampler, error) {
	if t.temp == 0 {
		return nil, nil
	}
	s, err := decode.NewSampling(t.temp, t.topP, t.minP, t.topK, t.seed)
	if err != nil {
		return nil, diag.Errorf("usage/sampling", diag.Pos{}, "%v", err)
	}
	return s, nil
}

// runner is a model on an engine: what generate and validate share. Its programs
// share one copy of the weights.
type runner struct {
	engine  engine.Engine
	model   *models.Model
	catalog *kernels.Catalog
	tok     *tokenizer.Tokenizer
	eos     []int
	warn    io.Writer
	ran     map[string]string // kernel -> where it runs: the device, or "reference"
}

// runner opens the engine and the model's text side. Close it when done.
func (a *app) runner(s *subject, catalog *kernels.Catalog) (*runner, error) {
	if s.model == nil || s.model.Weights == nil {
		return nil, diag.Errorf("model/no-weights", diag.Pos{File: s.name}, "has no weights").WithHint("give a model's folder or a .gguf file")
	}
	tok, err := s.model.Tokenizer()
	if err != nil {
		return nil, err
	}
	e, err := newEngine(catalog)
	if err != nil {
		return nil, lacks("%v", err)
	}
	return &runner{engine: e, model: s.model, catalog: catalog, tok: tok, eos: s.model.Stops(tok), warn: a.progress, ran: map[string]string{}}, nil
}

func (r *runner) close() { r.engine.Close() }

// derive adds the parameters of all programs to the weights. It comes before the
// first load, so that what is made of others is in memory once.
func (r *runner) derive(programs ...*graph.Program) error {
	for _, p := range programs {
		if err := models.Derive(p, r.model.Weights); err != nil {
			return err
		}
	}
	return nil
}

// generator loads a program. Kernels that the engine cannot launch run as their
// reference graphs; that it should have been able to is said once.
func (r *runner) generator(ctx context.Context, p *graph.Program) (*decode.Generator, func(), error) {
	return r.host().Load(ctx, p)
}

func (r *runner) host() *whole.Host {
	return &whole.Host{Engine: r.engine, Catalog: r.catalog, Keeps: r.launches, Weights: r.model.Weights}
}

// launches reports whether the engine launches a kernel.
func (r *runner) launches(s *kernels.Spec) bool {
	if where, known := r.ran[s.Name]; known {
		return where != asReference
	}
	r.ran[s.Name] = asReference
	e, ok := r.engine.(engine.KernelRunner)
	if !ok {
		return false
	}
	if err := e.RunsKernel(s); err != nil {
		fmt.Fprintf(r.warn, "warning: %v; its reference graph runs instead\n", err)
		return false
	}
	r.ran[s.Name] = r.engine.Device()
	return true
}

// asReference is where a kernel runs that the engine does not launch.
const asReference = "reference"

// kernels says where the kernels of the loaded programs run: "cpu", "reference", or both.
func (r *runner) kernels() string {
	var graphs []string
	for name, where := range r.ran {
		if where == asReference {
			graphs = append(graphs, name)
		}
	}
	slices.Sort(graphs)
	switch {
	case len(r.ran) == 0:
		return "none"
	case len(graphs) == len(r.ran):
		return asReference
	case len(graphs) == 0:
		return r.engine.Device()
	}
	return fmt.Sprintf("%s, as reference: %s", r.engine.Device(), strings.Join(graphs, ", "))
}

// prompt turns text into tokens, by the model's chat template if it has one.
func (r *runner) prompt(text string, t *textOptions) ([]int, error) {
	tmpl, err := r.model.ChatTemplate()
	if err != nil {
		return nil, err
	}
	if t.ignoreChat || tmpl.Source == "" {
		return nonEmpty(r.tok.Encode(text, true))
	}
	parsed, err := chattemplate.Parse(tmpl.File, tmpl.Source)
	if err != nil {
		return nil, err
	}
	var messages []*chattemplate.Dict
	if t.system != "" {
		messages = append(messages, chattemplate.Message("system", t.system))
	}
	messages = append(messages, chattemplate.Message("user", text))
	rendered, err := parsed.Render(messages, nil, true, tmpl.Extra)
	if err != nil {
		return nil, err
	}
	return nonEmpty(r.tok.Encode(rendered, false)) // the template writes special tokens itself
}

func nonEmpty(ids []int) ([]int, error) {
	if len(ids) == 0 {
		return nil, diag.Errorf("usage/prompt", diag.Pos{}, "the prompt is empty")
	}
	return ids, nil
}

// texts returns the prompts of a command; "-" is standard input.
func (a *app) texts(list []string) ([]string, error) {
	var out []string
	for _, p := range list {
		if p == "-" {
			data, err := io.ReadAll(io.LimitReader(a.stdin, maxText))
			if err != nil {
				return nil, fmt.Errorf("reading the prompt from standard input: %w", err)
			}
			p = string(data)
		}
		out = append(out, strings.TrimRight(p, "\n"))
	}
	return out, nil
}

// count runs f and returns how often each kernel of the program ran meanwhile: what the
// engine launched, as it counted, and of others how often their reference graphs were in
// the calls that f says it made.
func (r *runner) count(p *graph.Program, f func() (*decode.Result, error)) (*decode.Result, map[string]int, error) {
	e, launching := r.engine.(engine.KernelRunner)
	var before map[string]int
	if launching {
		before = e.Launches()
	}
	res, err := f()
	if err != nil {
		return nil, nil, err
	}
	counts := kernelCalls(p, res.Calls)
	if launching {
		after := e.Launches()
		for name := range counts {
			if r.ran[name] != asReference {
				counts[name] = after[name] - before[name]
			}
		}
	}
	return res, counts, nil
}

// printCounts lists kernels with how often they ran, the most frequent first.
func printCounts(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, counts[name])
	}
	return strings.Join(names, ", ")
}

// kernelCalls counts how often each kernel is called in a generation: those of the
// case that each call selects.
func kernelCalls(p *graph.Program, calls []int) map[string]int {
	counts := map[string]int{}
	offset := 0
	for _, n := range calls {
		offset += n
		c, err := p.Select(map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: int64(n), graph.SymKVLen: int64(offset)})
		if err != nil {
			continue
		}
		for id := range graph.NodeID(c.Graph.NumNodes()) {
			if op := c.Graph.Node(id).Op; op.IsKernel() {
				counts[strings.TrimPrefix(op.Name, graph.KernelPrefix)]++
			}
		}
	}
	return counts
}
