package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

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
	prefill     string // with which the answer begins
	maxTokens   int
	sampling    decode.Sampling
	seed        uint64
	ignoreChat  bool
	chatConfig  string // JSON: variables of the chat template
	prefillStep int
	ignoreEOS   bool
	stop        []string
	extraEOS    []string
	cacheFile   string
}

func (t *textOptions) flags(c *cobra.Command, defaultTokens int) {
	t.lengthFlags(c, defaultTokens)
	c.Flags().StringArrayVarP(&t.prompts, "prompt", "p", nil, "`text` to go on from; - reads standard input; may be repeated")
}

// checkLength refuses what makes no token, and what feeds a prompt in no chunks.
func (t *textOptions) checkLength(command string) error {
	switch {
	case t.maxTokens < 1:
		return diag.Errorf("usage/"+command, diag.Pos{}, "%s needs --max-tokens of at least 1", command).WithHint("it is how many are made at most: --max-tokens 100")
	case t.prefillStep < 0:
		return diag.Errorf("usage/"+command, diag.Pos{}, "--prefill-step-size %d is below 0", t.prefillStep).WithHint("it is %d if left out", decode.PrefillStep)
	}
	return nil
}

// lengthFlags are those of flags for commands that ask for prompts themselves.
func (t *textOptions) lengthFlags(c *cobra.Command, defaultTokens int) {
	f := c.Flags()
	f.IntVarP(&t.maxTokens, "max-tokens", "m", defaultTokens, "make at most `n` tokens")
	f.BoolVar(&t.ignoreEOS, "ignore-eos", false, "go on after the end token, for measurements")
	t.promptFlags(c)
}

// promptFlags say what becomes of a prompt before the model sees it.
func (t *textOptions) promptFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.system, "system-prompt", "", "`text` of the system message")
	f.BoolVar(&t.ignoreChat, "ignore-chat-template", false, "feed the prompt as it is")
	f.StringVar(&t.chatConfig, "chat-template-config", "", "`variables` of the chat template, as a JSON object: '{\"enable_thinking\": false}'")
	f.IntVar(&t.prefillStep, "prefill-step-size", decode.PrefillStep, "tokens of one chunk of the prompt")
}

func (t *textOptions) samplingFlags(c *cobra.Command) {
	f, s := c.Flags(), &t.sampling
	f.Float64Var(&s.Temp, "temp", 0, "temperature; 0 takes the most likely token")
	f.Float64Var(&s.TopP, "top-p", 0, "keep the most likely tokens up to this share; 0 and 1 keep all")
	f.Float64Var(&s.MinP, "min-p", 0, "keep tokens of at least this share of the most likely one's probability")
	f.IntVar(&s.MinKeep, "min-tokens-to-keep", 1, "keep at least this many tokens, whatever --min-p says")
	f.IntVar(&s.TopK, "top-k", 0, "keep this many tokens; 0 keeps all")
	f.Float64Var(&s.XTCProbability, "xtc-probability", 0, "of so many draws, cut all tokens above --xtc-threshold but the least likely")
	f.Float64Var(&s.XTCThreshold, "xtc-threshold", 0.1, "probability, up to 0.5, from which on tokens are cut by --xtc-probability; line breaks and end tokens are not")
	f.Uint64Var(&t.seed, "seed", 0, "seed of the random numbers")
	f.StringArrayVar(&t.stop, "stop", nil, "end before this `text`; may be repeated")
	f.StringArrayVar(&t.extraEOS, "extra-eos-token", nil, "end at this `token`, too; may be repeated")
}

// cacheFlag is for commands that go on from a prompt cache.
func (t *textOptions) cacheFlag(c *cobra.Command) {
	c.Flags().StringVar(&t.cacheFile, "prompt-cache-file", "", "`file` of cache-prompt or mlx_lm.cache_prompt to go on from")
	c.Flags().StringVar(&t.cacheFile, "prompt-cache", "", "the same as --prompt-cache-file")
}

func (t *textOptions) sampler() (decode.Sampler, error) {
	if t.sampling.Temp == 0 {
		return nil, nil
	}
	s, err := decode.NewSampling(t.sampling, t.seed)
	if err != nil {
		return nil, diag.Errorf("usage/sampling", diag.Pos{}, "%v", err).WithHint("leave --temp out, or give 0, for the most likely token; --top-p, --min-p and --xtc-probability are shares from 0 to 1, --xtc-threshold is one up to 0.5, --top-k counts tokens")
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
	ran     map[*kernels.Spec]string // where each runs: the device, or "reference"
	batch   int                      // sequences side by side, of what is only timed; 0: one
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
	e, err := newEngine(catalog, a.log)
	if err != nil {
		return nil, lacks("%v", err)
	}
	return &runner{engine: e, model: s.model, catalog: catalog, tok: tok, eos: s.model.Stops(tok), warn: a.progress, ran: map[*kernels.Spec]string{}}, nil
}

func (r *runner) close() { r.engine.Close() }

// derive adds the parameters of all programs to the weights. It comes before the
// first load, so that what is made of others is in memory once.
func (r *runner) derive(list ...*programs) error {
	for _, p := range list {
		for _, p := range p.all() {
			if err := models.Derive(p, r.model.Weights); err != nil {
				return err
			}
		}
	}
	return nil
}

// load loads a program. Kernels that the engine cannot launch run as their reference
// graphs; that it should have been able to is said once.
func (r *runner) load(ctx context.Context, p *graph.Program) (*graph.Program, engine.Session, error) {
	plain, err := r.catalog.Expand(p, r.launches)
	if err != nil {
		return nil, nil, err
	}
	s, err := r.engine.Load(ctx, plain, r.model.Weights)
	return plain, s, err
}

// generator loads what runs a model. Close it with the function that comes with it.
func (r *runner) generator(ctx context.Context, p *programs) (*decode.Generator, func(), error) {
	g, done, err := r.host().Load(ctx, p.plain)
	if err != nil {
		return nil, nil, err
	}
	g.KeepFirst(p.keep)
	if p.greedy != nil {
		_, head, err := r.load(ctx, p.greedy)
		if err != nil {
			done()
			return nil, nil, err
		}
		g.Greedy(head)
		model := done
		done = func() { model(); head.Close() }
	}
	if p.quantized == nil {
		return g, done, nil
	}
	quantized, q, err := r.load(ctx, p.quantized)
	if err != nil {
		done()
		return nil, nil, err
	}
	g.Quantize(&decode.Quantized{Session: q, Program: quantized, Start: p.start})
	return g, func() { done(); q.Close() }, nil
}

func (r *runner) host() *whole.Host {
	return &whole.Host{Engine: r.engine, Catalog: r.catalog, Keeps: r.launches, Weights: r.model.Weights, Batch: r.batch}
}

// launches reports whether the engine launches a kernel.
func (r *runner) launches(s *kernels.Spec) bool {
	if where, known := r.ran[s]; known {
		return where != asReference
	}
	r.ran[s] = asReference
	e, ok := r.engine.(engine.KernelRunner)
	if !ok {
		return false
	}
	if err := e.RunsKernel(s); err != nil {
		fmt.Fprintf(r.warn, "warning: %v; its reference graph runs instead\n", err)
		return false
	}
	r.ran[s] = r.engine.Device()
	return true
}

// reference reports whether a kernel of that name runs as its reference graph.
func (r *runner) reference(name string) bool {
	for s, where := range r.ran {
		if s.Name == name && where == asReference {
			return true
		}
	}
	return false
}

// asReference is where a kernel runs that the engine does not launch.
const asReference = "reference"

// kernels says where the kernels of the loaded programs run: "cpu", "reference", or both.
func (r *runner) kernels() string {
	var graphs []string
	for s, where := range r.ran {
		if where == asReference {
			graphs = append(graphs, s.Name)
		}
	}
	switch {
	case len(r.ran) == 0:
		return "none"
	case len(graphs) == len(r.ran):
		return asReference
	case len(graphs) == 0:
		return r.engine.Device()
	}
	slices.Sort(graphs)
	graphs = slices.Compact(graphs)
	return fmt.Sprintf("%s, as reference: %s", r.engine.Device(), strings.Join(graphs, ", "))
}

// prompt turns text into tokens, by the model's chat template if it has one.
func (r *runner) prompt(text string, t *textOptions) ([]int, error) {
	rendered, ok, err := r.render(text, t, false)
	if err != nil {
		return nil, err
	}
	return nonEmpty(r.tok.Encode(rendered, !ok)) // a template writes special tokens itself
}

// query turns text into the tokens that follow a prompt cache. As mlx-lm does, it takes
// for granted that what the template puts before the text is in the cache.
func (r *runner) query(text string, t *textOptions) ([]int, error) {
	const mark = "<query>"
	rendered, ok, err := r.render(text, t, false)
	if err != nil || !ok {
		return r.orPlain(text, err)
	}
	marked, _, err := r.render(mark, t, false)
	if err != nil {
		return nil, err
	}
	at := strings.Index(marked, mark)
	if at < 0 || at > len(rendered) {
		return nil, diag.Errorf("prompt-cache/template", diag.Pos{}, "the chat template does not have the prompt as it is, so what follows a prompt cache is unknown").
			WithHint("give --ignore-chat-template and the text that is to follow")
	}
	return nonEmpty(r.tok.Encode(rendered[at:], false))
}

func (r *runner) orPlain(text string, err error) ([]int, error) {
	if err != nil {
		return nil, err
	}
	return nonEmpty(r.tok.Encode(text, true))
}

// render is the text that the model sees, and whether a chat template made it. It ends where
// the answer begins; with open, behind the message itself.
func (r *runner) render(text string, t *textOptions, open bool) (string, bool, error) {
	tmpl, err := r.model.ChatTemplate()
	if err != nil || t.ignoreChat || tmpl.Source == "" {
		return text, false, err
	}
	parsed, err := chattemplate.Parse(tmpl.File, tmpl.Source)
	if err != nil {
		return "", false, err
	}
	var messages []*chattemplate.Dict
	if t.system != "" {
		messages = append(messages, chattemplate.Message("system", t.system))
	}
	// Where the last message ends is found by a tag behind it, as Transformers does.
	const tag = "CONTINUE_FINAL_MESSAGE_TAG "
	switch {
	case open:
		messages = append(messages, chattemplate.Message("user", text+tag))
	case t.prefill != "":
		messages, open = append(messages, chattemplate.Message("user", text), chattemplate.Message("assistant", t.prefill+tag)), true
	default:
		messages = append(messages, chattemplate.Message("user", text))
	}
	tools, err := t.variables(r.tok, tmpl.Extra)
	if err != nil {
		return "", false, err
	}
	rendered, err := parsed.Render(messages, tools, !open, tmpl.Extra)
	if err != nil || !open {
		return rendered, true, err
	}
	at := strings.LastIndex(rendered, strings.TrimSpace(tag))
	if at < 0 {
		return "", false, diag.Errorf("usage/prompt", diag.Pos{File: tmpl.File}, "the chat template does not have the last message as it is, so its end is unknown").WithHint("--ignore-chat-template feeds the text as it is")
	}
	if strings.HasPrefix(rendered[at:], tag) {
		return rendered[:at], true, nil
	}
	return strings.TrimRightFunc(rendered[:at], unicode.IsSpace), true, nil // the template strips messages
}

func nonEmpty(ids []int) ([]int, error) {
	if len(ids) == 0 {
		return nil, diag.Errorf("usage/prompt", diag.Pos{}, "the prompt is empty").WithHint("give --prompt TEXT, or --prompt - and the text on standard input")
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
func (r *runner) count(p *programs, f func() (*decode.Result, error)) (*decode.Result, map[string]int, error) {
	e, launching := r.engine.(engine.KernelRunner)
	var before map[string]int
	if launching {
		before = e.Launches()
	}
	res, err := f()
	if res == nil {
		return nil, nil, err
	}
	counts := kernelCalls(p, res.Calls, res.Plain)
	if launching {
		after := e.Launches()
		for name := range counts {
			if !r.reference(name) {
				counts[name] = after[name] - before[name]
			}
		}
	}
	return res, counts, err
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
// case that each call selects. So many calls as plain have plain caches.
func kernelCalls(p *programs, calls []int, plain int) map[string]int {
	counts := map[string]int{}
	offset := 0
	for i, n := range calls {
		offset += n
		program := p.plain
		if i >= plain {
			program = p.quantized
		}
		c, err := program.Select(map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: int64(n), graph.SymKVLen: int64(offset)})
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
