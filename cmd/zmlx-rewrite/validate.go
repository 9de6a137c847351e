package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/decode"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/report/figures"
	"zmlx-rewrite/verify/mlxlm"
	"zmlx-rewrite/verify/whole"
)

func (a *app) validateCmd() *cobra.Command {
	var o options
	var t textOptions
	var v validateOptions
	c := &cobra.Command{
		Use:   "validate [MODEL]",
		Short: "Compare the rewritten model with the unrewritten one: tokens, margins, logits, speed",
		Long: "Validate makes tokens with the unrewritten and the rewritten program, greedily, and, where they part,\n" +
			"again with the rewritten one fed the unrewritten one's tokens. With --oracle mlx-lm both are held\n" +
			"against mlx-lm as well. Exit code 1: a program differs by more than rounding explains, or, with\n" +
			"--strict, takes another token anywhere; docs/MEASURE.md has the verdicts.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && o.model == "" {
				o.model = args[0]
			}
			return a.validate(c.Context(), &o, &t, &v)
		},
	}
	o.flags(c)
	o.first = true
	o.dtypeFlag(c)
	o.adapterFlag(c)
	o.kv.startFlag(c)
	t.flags(c, 48)
	f := c.Flags()
	f.StringVar(&v.prompts, "prompts", "", "`file` with a prompt a line")
	f.IntVar(&v.runs, "runs", 0, "time `n` runs of each program, in turns; 0 times the one that is compared, which also hands out its logits")
	f.StringVar(&v.oracle, "oracle", "", "compare with this `program` as well: mlx-lm, in the Python that $ZMLX_PYTHON names, or python3")
	f.BoolVar(&v.strict, "strict", false, "tokens that part at a near tie fail, too")
	f.BoolVar(&v.float32, "float32", false, "hold both against the model in float32, fed the same tokens, whether tokens part or not")
	f.StringVarP(&v.format, "output", "o", "text", "text or json")
	return c
}

// validateOptions are validate's own flags.
type validateOptions struct {
	prompts, oracle, format string
	runs                    int
	strict                  bool
	float32                 bool
}

func (v *validateOptions) check(o *options) error {
	if err := oneOf("output", v.format, "text", "json"); err != nil {
		return err
	}
	switch {
	case v.runs < 0:
		return diag.Errorf("usage/validate", diag.Pos{}, "--runs %d is below 0", v.runs).WithHint("--runs 3 times three runs of each program, --runs 0 those that are compared")
	case v.oracle != "" && v.oracle != mlxLM:
		return diag.Errorf("usage/oracle", diag.Pos{}, "no oracle %q", v.oracle).WithHint("there is one: mlx-lm")
	case v.oracle != "" && o.kv.size > 0:
		return diag.Errorf("usage/oracle", diag.Pos{}, "mlx-lm ignores --max-kv-size for models that make their caches themselves").WithHint("leave --max-kv-size or --oracle out")
	}
	return nil
}

// defaultPrompts are used where validate is given none.
var defaultPrompts = []string{
	"What is the capital of France?",
	"Write a function in Go that reverses a string.",
}

// validated is the JSON form of one prompt's comparison.
type validated struct {
	Prompt       string  `json:"prompt" jsonschema:"as given"`
	PromptTokens int     `json:"prompt_tokens" jsonschema:"that it became"`
	Tokens       int     `json:"tokens" jsonschema:"that were compared"`
	Verdict      string  `json:"verdict" jsonschema:"docs/MEASURE.md says what each means"`
	FirstDiff    int     `json:"first_difference" jsonschema:"step at which tokens part; -1 if they do not"`
	Margin       float64 `json:"margin" jsonschema:"of the unrewritten program between its two best logits, at the first difference, else the smallest"`
	MarginStep   int     `json:"margin_step" jsonschema:"step of the margin"`
	MaxError     float64 `json:"max_logit_error" jsonschema:"up to where tokens part"`
	TPS          float64 `json:"generation_tps" jsonschema:"tokens a second of the unrewritten program"`
	RewrittenTPS float64 `json:"rewritten_generation_tps" jsonschema:"tokens a second of the rewritten one"`

	KL         float64 `json:"kl_mean" jsonschema:"of the rewritten program fed the tokens of the unrewritten one, over all steps, in nats"`
	KLMax      float64 `json:"kl_max" jsonschema:"the largest of a step"`
	LogitError float64 `json:"forced_max_logit_error" jsonschema:"largest error of a logit in the same steps"`

	PromptTPS    [2]float64 `json:"prompt_tps" jsonschema:"tokens of the prompt a second: unrewritten, rewritten"`
	PeakMemory   *[2]uint64 `json:"peak_memory,omitempty" jsonschema:"bytes of arrays of each program alone: unrewritten, rewritten; absent if the engine does not tell"`
	StepLaunches [2]int     `json:"launches_per_step" jsonschema:"of the programs that made the last token: unrewritten, rewritten"`
	Runs         int        `json:"runs,omitempty" jsonschema:"that were timed, of each program: the rates are their medians; absent if the compared run was timed"`

	Oracle *oracled `json:"oracle,omitempty" jsonschema:"with --oracle"`

	KernelRuns string         `json:"kernel_runs" jsonschema:"where kernels run: the device, reference, or both"`
	Kernels    map[string]int `json:"kernels" jsonschema:"how often each kernel ran in the rewritten model"`

	OwnError  float64    `json:"original_error,omitempty" jsonschema:"where tokens part in a half type: the largest error of a logit there against float32"`
	RMS       float64    `json:"original_rms_error,omitempty" jsonschema:"root mean square of all errors of the unrewritten program against float32"`
	Rewritten float64    `json:"rewritten_rms_error,omitempty" jsonschema:"the same of the rewritten program"`
	Float32   *[2]far    `json:"float32,omitempty" jsonschema:"with --float32: how far each is from the model in float32, fed the tokens of the unrewritten one: unrewritten, rewritten"`
	Rechunked *rechunked `json:"rechunked,omitempty" jsonschema:"the unrewritten program against itself, its prompt cut elsewhere"`
}

// far is how far a program is from float32.
type far struct {
	RMS   float64 `json:"rms_error" jsonschema:"root mean square of the errors of all logits"`
	Max   float64 `json:"max_error" jsonschema:"the largest of a logit"`
	KL    float64 `json:"kl_mean" jsonschema:"over all steps, in nats"`
	KLMax float64 `json:"kl_max" jsonschema:"the largest of a step"`
}

func farFrom(truth, steps []decode.Step) far {
	d := decode.MeasureDivergence(truth, steps)
	return far{decode.MeasureErrors(steps, truth).RMS, d.Logit, d.Mean, d.Max}
}

// rechunked is the unrewritten model against itself, the prompt cut elsewhere.
type rechunked struct {
	First    int     `json:"first_difference" jsonschema:"step at which tokens part; -1 if they do not"`
	Margin   float64 `json:"margin" jsonschema:"there"`
	OwnError float64 `json:"original_error" jsonschema:"of the unrewritten program there, against float32"`
	RMS      float64 `json:"rms_error" jsonschema:"root mean square of all errors against float32"`
}

func (a *app) validate(ctx context.Context, o *options, t *textOptions, vo *validateOptions) (err error) {
	if err := vo.check(o); err != nil {
		return err
	}
	if vo.prompts != "" {
		data, err := readLimited(vo.prompts, maxText)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" {
				t.prompts = append(t.prompts, line)
			}
		}
		if len(t.prompts) == 0 {
			return diag.Errorf("usage/validate", diag.Pos{File: vo.prompts}, "has no prompt").WithHint("write one a line; without --prompts two short ones are used")
		}
	}
	d, err := a.duel(ctx, o, t, "validate")
	if err != nil {
		return err
	}
	defer d.close()
	if vo.float32 && inFloat32(d.s.program) {
		return diag.Errorf("usage/validate", diag.Pos{File: o.model}, "computes in float32 already, so there is nothing to hold it against").WithHint("leave --float32 out, or give --dtype bfloat16")
	}
	r := d.r
	var oracle *mlxlm.Oracle
	if vo.oracle != "" {
		if oracle, err = startOracle(ctx, r.model.Path, o.dtype); err != nil {
			return err
		}
		defer oracle.Close()
	}
	if vo.format == "text" {
		fmt.Fprintf(a.stdout, "%s · profile %s · %s on %s %s · kernels: %s", d.s.name, d.prof.Name, r.engine.Name(), r.engine.Device(), r.engine.Version(), r.kernels())
		if o.kv.Bits > 0 {
			fmt.Fprintf(a.stdout, " · KV cache: %s", &o.kv)
		}
		if oracle != nil {
			fmt.Fprintf(a.stdout, " · oracle: mlx-lm %s on %s %s", oracle.Version, oracle.Device, oracle.MLX)
		}
		fmt.Fprintln(a.stdout)
	}
	truth := d.truth(ctx, o)
	defer truth.close()
	at := &validating{line: a.statusLine(), begun: time.Now(), prompts: len(d.texts), tokens: t.maxTokens, stages: len(sides) * (1 + vo.runs)}
	if oracle != nil {
		at.stages++
	}
	defer at.line.clear()
	memory := newPeaks(r.engine, r.model.Weights, [2]*programs{d.unrewritten, d.rewritten}, func() {
		d.before.Reset()
		d.after.Reset()
		truth.rest()
	})
	differ, ties, compared := 0, 0, 0
	defer func() {
		if err != nil && ctx.Err() != nil && compared < len(d.texts) {
			at.line.clear()
			err = &exitError{130, fmt.Sprintf("interrupted; %d of %d prompts are compared and printed, %d with other tokens, %d at near ties; of the one under way nothing is kept: a verdict on a part of its tokens would mislead", compared, len(d.texts), differ, ties)}
		}
	}()
	for i, text := range d.texts {
		at.prompt, at.stage = i, 0
		prompt, err := r.prompt(text, t)
		if err != nil {
			return err
		}
		opts := d.options(t)
		opts.OnToken = func(decode.Token) error { at.token(); return nil }
		opts.OnPrompt = at.reading
		at.begin(sides[0])
		v := validated{Prompt: text, PromptTokens: len(prompt), KernelRuns: r.kernels(), Runs: vo.runs}
		var ra, rb *decode.Result
		var sa, sb []decode.Step
		var most [2]uint64
		if most[0], err = memory.of(0, func() (err error) { ra, sa, err = whole.Steps(ctx, d.before, prompt, opts); return err }); err != nil {
			return err
		}
		at.begin(sides[1])
		if most[1], err = memory.of(1, func() (err error) {
			rb, v.Kernels, err = r.count(d.rewritten, func() (res *decode.Result, err error) {
				res, sb, err = whole.Steps(ctx, d.after, prompt, opts)
				return res, err
			})
			return err
		}); err != nil {
			return err
		}
		if most[0] > 0 && most[1] > 0 {
			v.PeakMemory = &most
		}
		for _, l := range layers([2]*graph.Program{d.unrewritten.last(ra), d.rewritten.last(rb)}, 1) {
			v.StepLaunches[0], v.StepLaunches[1] = v.StepLaunches[0]+l.Before, v.StepLaunches[1]+l.After
		}
		v.TPS, v.RewrittenTPS, v.PromptTPS = ra.TPS(), rb.TPS(), [2]float64{ra.PromptTPS(), rb.PromptTPS()}
		if vo.runs > 0 {
			if err := v.time(ctx, d, prompt, opts, at.begin); err != nil {
				return err
			}
		}
		before, after := way{d.before, opts}, way{d.after, opts}
		c := decode.Compare(sa, sb)
		v.Tokens, v.FirstDiff, v.Margin, v.MarginStep, v.MaxError = c.Steps, c.First, c.Margin, c.MarginStep, c.MaxError
		switch {
		case c.First < 0 && c.Exact && !vo.float32:
			v.Verdict = "bit-exact"
		case c.First < 0 && !vo.float32:
			v.Verdict = "token-identical"
		case !inFloat32(d.s.program):
			at.aside("in float32")
			exact, err := truth.get()
			if err != nil {
				return err
			}
			if err := v.judge(ctx, prompt, sa, before, after, sb, way{exact, opts}, vo.float32); err != nil {
				return err
			}
		default:
			v.Verdict = verdictOf(whole.Compare(sa, sb, nil))
		}
		led := sb
		if c.First >= 0 {
			at.aside("rewritten, fed the same tokens")
			if led, err = after.led(ctx, prompt, sa); err != nil {
				return err
			}
		}
		kl := decode.MeasureDivergence(sa, led)
		v.KL, v.KLMax, v.LogitError = kl.Mean, kl.Max, kl.Logit
		if oracle != nil {
			at.begin(mlxLM)
			if v.Oracle, err = d.ask(ctx, oracle, o, prompt, [2]way{before, after}, [2][]decode.Step{sa, sb}, truth); err != nil {
				return err
			}
		}
		at.line.clear()
		switch {
		case parted(v.Verdict) || v.Oracle.any(parted):
			differ++
		case tied(v.Verdict) || v.Oracle.any(tied):
			ties++
		}
		compared++
		if math.IsInf(v.Margin, 0) {
			v.Margin = 0
		}
		if vo.format == "json" {
			enc := json.NewEncoder(a.stdout)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(v); err != nil {
				return err
			}
			continue
		}
		a.printVerdict(&v, c, r.tok.Decode(rb.Tokens, true))
	}
	if differ > 0 {
		than := ""
		if oracle != nil {
			than = ", or than mlx-lm's"
		}
		return isFalse("%d of %d prompts give other tokens after the rewrite%s\n\t%s", differ, len(d.texts), than, whoDiffers)
	}
	if ties > 0 && vo.strict {
		return isFalse("%d of %d prompts give other tokens at near ties", ties, len(d.texts))
	}
	if ties > 0 {
		fmt.Fprintf(a.progress, "%d of %d prompts give other tokens, at near ties, which rounding explains; --strict fails then\n", ties, len(d.texts))
	}
	return nil
}

func parted(verdict string) bool { return verdict == string(whole.Differs) }

// tied reports whether a verdict is that tokens part where the first model itself could not
// tell which is the better one.
func tied(verdict string) bool { return verdict == string(whole.NearTie) || verdict == closerToFP32 }

// validating is how far a validation is: so many stages a prompt, each about as long as
// another one, and those besides that are not foreseen.
type validating struct {
	line            *statusLine
	begun           time.Time
	prompt, prompts int
	stage, stages   int // of the prompt that have begun
	made, tokens    int
	what            string
	beside          bool
}

// begin is the beginning of a stage.
func (v *validating) begin(what string) {
	v.what, v.made, v.beside = what, 0, false
	v.stage++
	v.line.last = time.Time{}
	v.show()
}

// aside is the beginning of something that was not foreseen.
func (v *validating) aside(what string) {
	v.what, v.made, v.beside = what, 0, true
	v.line.last = time.Time{}
	v.show()
}

// token is told of each token of a stage.
func (v *validating) token() {
	v.made++
	v.show()
}

// whoDiffers is what to do next where tokens are others after the rewrite.
const whoDiffers = "zmlx-rewrite verify --model MODEL says at which token, and which application of a rule it is; verify --device tries each replacement by itself"

// reading is told of a long prompt that is read before the first token.
func (v *validating) reading(read, all int) {
	if all < longPrompt {
		return
	}
	what := v.what
	v.what += fmt.Sprintf(", %d of %d tokens of the prompt", read, all)
	v.line.last = time.Time{}
	v.show()
	v.what = what
}

func (v *validating) show() {
	done := (v.prompt*v.stages + v.stage) * v.tokens
	if !v.beside {
		done += min(v.made, v.tokens) - v.tokens
	}
	v.line.progress(v.begun, int64(done), int64(v.prompts*v.stages*v.tokens), "prompt %d of %d · %s, %d tokens", v.prompt+1, v.prompts, v.what, v.made)
}

// time makes the tokens several more times with each program, in turns, without their logits.
func (v *validated) time(ctx context.Context, d *duel, prompt []int, opts decode.Options, begin func(what string)) error {
	opts.Logits, opts.OnToken, opts.OnPrompt = false, nil, nil
	var rates, prompts [2][]float64
	for run := range v.Runs {
		for i := range sides {
			side := (i + run) % 2 // A B, B A, ...
			begin(fmt.Sprintf("%s, run %d of %d", sides[side], run+1, v.Runs))
			g := [2]*decode.Generator{d.before, d.after}[side]
			g.Reset()
			res, err := g.Generate(ctx, prompt, opts)
			if err != nil {
				return err
			}
			rates[side] = append(rates[side], res.TPS())
			prompts[side] = append(prompts[side], res.PromptTPS())
		}
	}
	v.TPS, v.RewrittenTPS = bench.Median(rates[0]), bench.Median(rates[1])
	v.PromptTPS = [2]float64{bench.Median(prompts[0]), bench.Median(prompts[1])}
	return nil
}

// truth is the model in float32, loaded once somebody asks.
type truth struct {
	get   func() (*decode.Generator, error)
	rest  func() // empties its caches, if it is loaded
	close func()
}

func (d *duel) truth(ctx context.Context, o *options) *truth {
	rest, done := func() {}, func() {}
	load := sync.OnceValues(func() (*decode.Generator, error) {
		g, close, err := d.r.truth(ctx, o.model, o.dtype, o.adapter)
		if err == nil {
			rest, done = g.Reset, close
		}
		return g, err
	})
	return &truth{load, func() { rest() }, func() { done() }}
}

// comparison it does the same with the unrewritten model and another chunking of the prompt.
func (v *validated) judge(ctx context.Context, prompt []int, sa []decode.Step, before, after way, sb []decode.Step, exact way, all bool) error {
	f, err := hold(ctx, prompt, sa, after, sb, exact)
	if err != nil {
		return err
	}
	if all {
		v.Float32 = &[2]far{farFrom(f.Truth, sa), farFrom(f.Truth, f.Led)}
	}
	v.OwnError, v.RMS, v.Rewritten = f.StepError, f.Stock, f.Error
	v.Verdict = verdictOf(f)
	cut, ok := before.rechunked(prompt)
	if !ok {
		return nil
	}
	_, sc, err := cut.free(ctx, prompt)
	if err != nil {
		return err
	}
	if f, err = hold(ctx, prompt, sa, cut, sc, exact); err != nil {
		return err
	}
	v.Rechunked = &rechunked{f.First, f.Margin, f.StepError, f.Error}
	return nil
}

// duel is a model that is ready to run unrewritten and rewritten: what validate and verify
// share.
type duel struct {
	w             *workspace
	prof          *profiles.Profile
	s             *rewritten
	r             *runner
	texts         []string
	unrewritten   *programs
	rewritten     *programs
	before, after *decode.Generator
	closers       []func()
}

func (d *duel) close() {
	for _, f := range slices.Backward(d.closers) {
		f()
	}
}

// duel loads a model both ways.
func (a *app) duel(ctx context.Context, o *options, t *textOptions, command string) (*duel, error) {
	texts, err := a.texts(t.prompts)
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		texts = defaultPrompts
	}
	if o.model == "" {
		return nil, needsModel(command)
	}
	if err := t.checkLength(command); err != nil {
		return nil, err
	}
	o.dims = nil
	w, prof, all, err := a.rewriteToRun(ctx, o)
	if err != nil {
		return nil, err
	}
	d := &duel{w: w, prof: prof, s: all[0], texts: texts, closers: []func(){all[0].close}}
	measureInFloat32(d.s.program)
	if err := d.load(ctx, a, o); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *duel) load(ctx context.Context, a *app, o *options) (err error) {
	plain, rewritten, err := o.kv.programs(d.w, d.prof, o, d.s)
	if err != nil {
		return err
	}
	d.unrewritten, d.rewritten = plain, rewritten
	if d.r, err = a.runner(d.s.subject, d.w.set.Kernels); err != nil {
		return err
	}
	d.closers = append(d.closers, d.r.close)
	if err := d.r.derive(rewritten, plain); err != nil {
		return err
	}
	for _, x := range []struct {
		g **decode.Generator
		p *programs
	}{{&d.before, plain}, {&d.after, rewritten}} {
		g, done, err := d.r.generator(ctx, x.p)
		if err != nil {
			return err
		}
		*x.g, d.closers = g, append(d.closers, done)
	}
	return nil
}

func (d *duel) options(t *textOptions) decode.Options {
	o := decode.Options{MaxTokens: t.maxTokens, PrefillStep: t.prefillStep, EOS: d.r.eos, Logits: true}
	if t.ignoreEOS {
		o.EOS = nil
	}
	return o
}

func (a *app) printVerdict(v *validated, c *decode.Comparison, text string) {
	fmt.Fprintf(a.stdout, "%q: %s\n", v.Prompt, v.Verdict)
	fmt.Fprintf(a.stdout, "  %q\n", text)
	if c.First >= 0 {
		fmt.Fprintf(a.stdout, "  tokens part at step %d (%d before, %d after): the margin there was %.4g, the largest logit error so far %.3g\n", c.First, c.A, c.B, c.Margin, c.MaxError)
		v.printFloat32(a.stdout)
	} else {
		fmt.Fprintf(a.stdout, "  %d tokens equal · smallest margin (top1 − top2) %.4g at step %d · largest logit error %.3g\n", c.Steps, c.Margin, c.MarginStep, c.MaxError)
	}
	if f := v.Float32; f != nil {
		for i, x := range f {
			fmt.Fprintf(a.stdout, "  %-11s against float32: root mean square error %.4g, largest %.4g · KL mean %.3g, max %.3g nats\n", sides[i], x.RMS, x.Max, x.KL, x.KLMax)
		}
	}
	fmt.Fprintf(a.stdout, "  fed the same tokens: KL mean %.3g, max %.3g nats · largest logit error %.3g\n", v.KL, v.KLMax, v.LogitError)
	median := ""
	if v.Runs > 0 {
		median = fmt.Sprintf(" (median of %d)", v.Runs)
	}
	fmt.Fprintf(a.stdout, "  unrewritten %.2f tokens/s · rewritten %.2f tokens/s%s\n", v.TPS, v.RewrittenTPS, median)
	fmt.Fprintf(a.stdout, "  prompt %.2f → %.2f tokens/s · launches of a step %d → %d", v.PromptTPS[0], v.PromptTPS[1], v.StepLaunches[0], v.StepLaunches[1])
	if v.PeakMemory != nil {
		fmt.Fprintf(a.stdout, " · peak memory %s → %s", figures.Size(int64(v.PeakMemory[0])), figures.Size(int64(v.PeakMemory[1])))
	}
	fmt.Fprintln(a.stdout)
	v.Oracle.print(a.stdout)
	if len(v.Kernels) > 0 {
		fmt.Fprintf(a.stdout, "  kernels: %s · %s\n", v.KernelRuns, printCounts(v.Kernels))
	}
}

// printFloat32 says how both compare with float32.
func (v *validated) printFloat32(w io.Writer) {
	if v.RMS == 0 {
		return
	}
	fmt.Fprintf(w, "  against float32: the unrewritten model's own largest error there is %.4g · root mean square of all %.4g, rewritten %.4g\n", v.OwnError, v.RMS, v.Rewritten)
	switch r := v.Rechunked; {
	case r == nil:
	case r.First < 0:
		fmt.Fprintf(w, "  unrewritten, the prompt cut in two: the same tokens · %.4g\n", r.RMS)
	default:
		fmt.Fprintf(w, "  unrewritten, the prompt cut in two: tokens part at step %d, margin %.4g, own error %.4g · %.4g\n", r.First, r.Margin, r.OwnError, r.RMS)
	}
}
