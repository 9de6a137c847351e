package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/measure/routing"
	"zmlx-rewrite/measure/stress"
	"zmlx-rewrite/report/figures"
)

// routingOptions are the flags of routing.
type routingOptions struct {
	prompts     []string
	file        string
	step        int
	random      int
	format, out string
}

func (a *app) routingCmd() *cobra.Command {
	var o options
	var r routingOptions
	c := &cobra.Command{
		Use:   "routing",
		Short: "Which experts each token of a text is sent to, before and after the rewrite",
		Long: "Routing feeds a text to the unrewritten and to the rewritten program, and collects the expert ids and\n" +
			"weights of every token in every layer: how often each expert is chosen, how even the load is, and\n" +
			"which experts are chosen together. The figures are the unrewritten program's. Exit code 1: the\n" +
			"rewritten program sends a token to other experts.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.routing(c.Context(), &o, &r) },
	}
	o.flags(c)
	o.dtypeFlag(c)
	f := c.Flags()
	f.StringArrayVarP(&r.prompts, "prompt", "p", nil, "`text`; - reads standard input; the prompts of stress if left out")
	f.StringVar(&r.file, "file", "", "`file` with the text")
	f.IntVar(&r.random, "random", 0, "random `tokens` in place of a text; they need no tokenizer")
	f.IntVar(&r.step, "step", 512, "`tokens` of one call; 1 feeds them as decoding does")
	f.StringVarP(&r.format, "output", "o", "md", "md, json (one layer a line) or html")
	f.StringVar(&r.out, "out", "", "`file` to write to, in place of standard output")
	return c
}

// routingTokens are the texts, each a sequence of its own.
func (a *app) routingTokens(p *pair, r *routingOptions) ([][]int, error) {
	if r.random > 0 {
		return [][]int{randomTokens(1, r.random, p.vocab)}, nil
	}
	texts, err := a.texts(r.prompts)
	if err != nil {
		return nil, err
	}
	if r.file != "" {
		data, err := readLimited(r.file, maxText)
		if err != nil {
			return nil, err
		}
		texts = append(texts, strings.TrimRight(string(data), "\n"))
	}
	if len(texts) == 0 {
		for _, k := range stress.Kinds {
			text, _ := stress.Prompt(k)
			texts = append(texts, text)
		}
	}
	tok, err := p.model.Tokenizer()
	if err != nil {
		return nil, err
	}
	var out [][]int
	for _, text := range texts {
		tokens, err := nonEmpty(tok.Encode(text, true))
		if err != nil {
			return nil, err
		}
		out = append(out, tokens)
	}
	return out, nil
}

func (a *app) routing(ctx context.Context, o *options, r *routingOptions) error {
	if err := oneOf("output", r.format, "md", "json", "html"); err != nil {
		return err
	}
	switch {
	case o.model == "":
		return needsModel("routing")
	case r.step < 1:
		return diag.Errorf("usage/routing", diag.Pos{}, "--step %d is not at least 1", r.step).WithHint("it is how many tokens a call takes: --step 512, or --step 1 as in decoding")
	case r.random > 0 && (len(r.prompts) > 0 || r.file != ""):
		return diag.Errorf("usage/routing", diag.Pos{}, "--random takes no text").WithHint("leave out --prompt and --file, or --random")
	case r.random < 0 || r.random > 1<<20:
		return diag.Errorf("usage/routing", diag.Pos{}, "--random %d is not between 0 and %d", r.random, 1<<20).WithHint("it is how many tokens are drawn: --random 512")
	}
	p, err := a.pair(ctx, o, nil)
	if err != nil {
		return err
	}
	defer p.close()
	texts, err := a.routingTokens(p, r)
	if err != nil {
		return err
	}
	t, err := p.tracer(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	layers := t.layers
	traces, err := a.routings(ctx, t, texts, r.step)
	cut := err != nil && ctx.Err() != nil
	if err != nil && !cut {
		return err
	}
	fed, all := [2]int{len(traces[0][0]), len(traces[1][0])}, 0 // there is a layer
	for _, tokens := range texts {
		all += len(tokens)
	}
	if fed[0] == 0 {
		return &exitError{130, "interrupted before any token was fed; there is nothing to print"}
	}
	var stats []routing.Stats
	for i, l := range layers {
		stats = append(stats, routing.Sum(routing.Short(l.Scope), l.Experts, l.K, traces[0][i]))
		stats[i].Cut = cut
	}
	d := routing.Compare(traces[0].First(fed[1]), traces[1])
	same := fmt.Sprintf("%d tokens in %d layers: both programs choose the same experts; largest difference of a weight %.3g", fed[1], len(layers), d.Weight)
	if d.Other > 0 {
		same = fmt.Sprintf("%d of %d choices are others after the rewrite, the first of token %d in %s; largest difference of a weight elsewhere %.3g", d.Other, d.Tokens, d.First, routing.Short(layers[d.Layer].Scope), d.Weight)
	}
	if cut {
		if fed[1] == 0 {
			same = "nothing is compared with the rewritten program yet"
		}
		same = fmt.Sprintf("interrupted: of %d tokens %d were fed to the unrewritten program, %d to the rewritten one; %s", all, fed[0], fed[1], same)
	}
	title := fmt.Sprintf("%s · profile %s · %s on %s %s · %s", p.s.name, p.profile.Name, p.engine.Name(), p.engine.Device(), p.engine.Version(), same)
	text, err := routingText(r.format, title, stats)
	if err != nil {
		return err
	}
	if r.format == "json" && !cut {
		fmt.Fprintln(a.progress, same)
	}
	kept := ""
	if r.out != "" {
		kept, err = a.keep(r.out, cut, func() error { return writeFile(r.out, text) })
	} else {
		err = a.put("", text)
	}
	if err != nil {
		return err
	}
	if cut {
		return &exitError{130, kept + same}
	}
	if d.Other > 0 {
		return isFalse("%s", same)
	}
	return nil
}

// routingText is a text's routing in a format.
func routingText(format, title string, stats []routing.Stats) ([]byte, error) {
	var b bytes.Buffer
	switch format {
	case "json":
		err := figures.JSON(&b, stats)
		return b.Bytes(), err
	case "html":
		err := figures.RoutingHTML(&b, title, stats)
		return b.Bytes(), err
	}
	fmt.Fprintf(&b, "%s\n\n", title)
	figures.Routing(&b, stats)
	return b.Bytes(), nil
}

// routings feeds the texts to both programs. Beside an error it returns what was fed until then.
func (a *app) routings(ctx context.Context, t *tracer, texts [][]int, step int) (traces [2]routing.Trace, err error) {
	line, begun, n, all := a.statusLine(), time.Now(), 0, 0
	defer line.clear()
	for _, tokens := range texts {
		all += len(sides) * len(tokens)
	}
	for side := range sides {
		traces[side] = make(routing.Trace, len(t.layers))
	}
	for side := range sides {
		t.tick = func(fed int) {
			n += fed
			line.progress(begun, int64(n), int64(all), "%s, %d of %d tokens", sides[side], n, all)
		}
		for _, tokens := range texts {
			if err := t.trace(ctx, side, tokens, step, traces[side]); err != nil {
				return traces, err
			}
		}
	}
	return traces, nil
}

// tracer is both programs of a pair, loaded once more with the experts of each token as further
// results. Close it before the pair.
type tracer struct {
	p        *pair
	layers   []routing.Layer
	programs [2]*graph.Program
	lists    [2][]routing.Layer
	sessions [2]engine.Session
	tick     func(fed int) // nil, or told of the tokens of each call
}

func (p *pair) tracer(ctx context.Context) (_ *tracer, err error) {
	t := &tracer{p: p}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	for side := range sides {
		marked, list, err := routing.Mark(p.programs[side])
		if err != nil {
			return nil, diag.Errorf("routing/cases", diag.Pos{}, "%s: %v", sides[side], err)
		}
		if len(list) == 0 {
			return nil, diag.Errorf("routing/none", diag.Pos{File: p.s.name}, "has no mixture of experts").WithHint("routing is for models such as qwen3_moe, mixtral, gpt_oss")
		}
		if side == 0 {
			t.layers = list
		} else if len(list) != len(t.layers) {
			return nil, diag.Errorf("routing/cases", diag.Pos{}, "%d mixtures before the rewrite, %d after", len(t.layers), len(list))
		}
		t.lists[side] = list
		if t.programs[side], t.sessions[side], err = p.runner.load(ctx, marked); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *tracer) close() {
	for _, s := range t.sessions {
		if s != nil {
			s.Close()
		}
	}
}

// trace feeds one sequence to a side, and adds what each token was sent to.
func (t *tracer) trace(ctx context.Context, side int, tokens []int, step int, into routing.Trace) error {
	p, s := t.p, t.sessions[side]
	caches, err := cache.New(p.engine, t.programs[side], 1)
	if err != nil {
		return err
	}
	defer caches.Reset()
	for len(tokens) > 0 {
		n := min(step, len(tokens))
		var data []byte
		for _, id := range tokens[:n] {
			data = binary.LittleEndian.AppendUint32(data, uint32(id))
		}
		in, err := p.engine.NewTensor(graph.Int32, []int{1, n}, data)
		if err != nil {
			return err
		}
		out, err := caches.Step(ctx, s, engine.Take(in), n)
		if err != nil {
			return err
		}
		if err := readRouting(out, t.lists[side], n, into); err != nil {
			return err
		}
		tokens = tokens[n:]
		if t.tick != nil {
			t.tick(n)
		}
	}
	return nil
}

// readRouting reads what n tokens were sent to, and releases the results.
func readRouting(out map[string]engine.Tensor, layers []routing.Layer, n int, into routing.Trace) error {
	defer func() {
		for _, t := range out {
			t.Release()
		}
	}()
	for i, l := range layers {
		ids, err := elements(out[routing.IDs(i)])
		if err != nil {
			return err
		}
		var weights []float64
		if l.Weights != graph.None {
			if weights, err = elements(out[routing.Weights(i)]); err != nil {
				return err
			}
		}
		for k := range n {
			t := routing.Token{IDs: make([]int, l.K)}
			for j, id := range ids[k*l.K : (k+1)*l.K] {
				if t.IDs[j] = int(id); id < 0 || int(id) >= l.Experts {
					return diag.Errorf("routing/id", diag.Pos{}, "expert %v of %d", id, l.Experts).WithScope(l.Scope)
				}
			}
			if weights != nil {
				t.Weights = weights[k*l.K : (k+1)*l.K]
			}
			into[i] = append(into[i], t)
		}
	}
	return nil
}

// elements reads a tensor.
func elements(t engine.Tensor) ([]float64, error) {
	data, err := t.Read()
	if err != nil {
		return nil, err
	}
	size := t.DType().Size()
	out := make([]float64, len(data)/size)
	for i := range out {
		out[i] = graph.DecodeElem(t.DType(), data[i*size:])
	}
	return out, nil
}
