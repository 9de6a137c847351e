package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/verify/whole"
)

// modelVerified is the JSON form of one prompt's comparison; fields may be added, these stay.
type modelVerified struct {
	Model        string          `json:"model" jsonschema:"as it was named"`
	Prompt       string          `json:"prompt" jsonschema:"as given"`
	PromptTokens int             `json:"prompt_tokens" jsonschema:"that it became"`
	Tokens       int             `json:"tokens" jsonschema:"that were compared"`
	Verdict      string          `json:"verdict" jsonschema:"docs/VERIFY.md says what each means"`
	Why          string          `json:"why,omitempty" jsonschema:"of the verdict"`
	FirstDiff    int             `json:"first_difference" jsonschema:"step at which tokens part; -1 if they do not"`
	Before       int             `json:"before" jsonschema:"token of the unrewritten model there"`
	After        int             `json:"after" jsonschema:"token of the rewritten model there"`
	Margin       float64         `json:"margin" jsonschema:"of the two best logits of the unrewritten model, there, else the smallest"`
	MarginStep   int             `json:"margin_step" jsonschema:"step of the margin"`
	MaxError     float64         `json:"max_logit_error" jsonschema:"of the rewritten against the unrewritten model"`
	Error        float64         `json:"error,omitempty" jsonschema:"of the rewritten model against float32, over all logits up to where tokens part"`
	StockError   float64         `json:"stock_error,omitempty" jsonschema:"the same of the unrewritten model"`
	StepError    float64         `json:"stock_step_error,omitempty" jsonschema:"largest error of a logit at the step where tokens part"`
	Other        *otherChunks    `json:"stock_in_other_chunks,omitempty" jsonschema:"the unrewritten model against itself, its prompt in other chunks, if tokens part"`
	Culprit      *culpritVerdict `json:"culprit,omitempty" jsonschema:"the one application of a rule that makes tokens differ"`
}

type otherChunks struct {
	PrefillStep int     `json:"prefill_step" jsonschema:"tokens of a chunk"`
	FirstDiff   int     `json:"first_difference" jsonschema:"step at which tokens part; -1 if they do not"`
	MaxError    float64 `json:"max_logit_error" jsonschema:"up to there"`
}

type culpritVerdict struct {
	Rule     string  `json:"rule" jsonschema:"full name"`
	Scope    string  `json:"scope" jsonschema:"part of the model"`
	Case     string  `json:"case" jsonschema:"of the program"`
	Round    int     `json:"round" jsonschema:"of rewriting"`
	Index    int     `json:"index" jsonschema:"among all applications"`
	Of       int     `json:"of" jsonschema:"applications"`
	Programs int     `json:"programs" jsonschema:"that were tried"`
	Call     int     `json:"call,omitempty" jsonschema:"of the model in which a value differs first"`
	Value    string  `json:"value,omitempty" jsonschema:"that differs first"`
	Op       string  `json:"op,omitempty" jsonschema:"that makes it"`
	Element  []int   `json:"element,omitempty" jsonschema:"of the value"`
	Before   float64 `json:"value_before,omitempty" jsonschema:"the rewrite"`
	After    float64 `json:"value_after,omitempty" jsonschema:"the rewrite"`
	Why      string  `json:"why,omitempty" jsonschema:"it is known to be this one"`
}

// verifyModel compares a model's tokens and logits before and after its rewrite.
func (a *app) verifyModel(ctx context.Context, v *verifyOptions) error {
	v.unproven = true
	d, err := a.duel(ctx, &v.options, &v.text, "verify")
	if err != nil {
		return err
	}
	defer d.close()
	if v.format == "text" {
		fmt.Fprintf(a.stdout, "%s · profile %s · %s on %s %s · kernels: %s · %d applications of rules\n", d.s.name, d.prof.Name,
			d.r.engine.Name(), d.r.engine.Device(), d.r.engine.Version(), d.r.kernels(), len(whole.Sites(d.s.res)))
	}
	m := &measure{path: v.model, dtype: v.dtype, r: d.r}
	defer m.close()
	differ := 0
	at := &validating{line: a.statusLine(), begun: time.Now(), prompts: len(d.texts), tokens: v.text.maxTokens, stages: len(sides)}
	defer at.line.clear()
	for i, text := range d.texts {
		at.prompt, at.stage = i, 0
		out, err := a.verifyPrompt(ctx, d, m, text, &v.text, at)
		if err != nil {
			return err
		}
		out.Model = d.s.name
		if out.Verdict == string(whole.Differs) {
			differ++
		}
		at.line.clear()
		if err := a.printModelVerified(out, v.format); err != nil {
			return err
		}
	}
	if differ > 0 {
		return isFalse("%d of %d prompts are not as the unrewritten model has them", differ, len(d.texts))
	}
	return nil
}

func (a *app) verifyPrompt(ctx context.Context, d *duel, m *measure, text string, t *textOptions, at *validating) (*modelVerified, error) {
	prompt, err := d.r.prompt(text, t)
	if err != nil {
		return nil, err
	}
	opts := d.options(t)
	opts.OnToken = func(decode.Token) error { at.token(); return nil }
	opts.OnPrompt = at.reading
	at.begin(sides[0])
	stock, sa, err := whole.Steps(ctx, d.before, prompt, opts)
	if err != nil {
		return nil, err
	}
	var truth []decode.Step
	judge := func(g *decode.Generator, n int) (*whole.Comparison, error) {
		o := opts
		o.MaxTokens = n
		_, sb, err := whole.Steps(ctx, g, prompt, o)
		if err != nil {
			return nil, err
		}
		c := whole.Compare(sa[:min(n, len(sa))], sb, truth)
		if c.Verdict != whole.BitExact && truth == nil && !inFloat32(d.s.program) {
			at.aside("in float32")
			if truth, err = m.along(ctx, prompt, stock.Tokens, opts); err != nil {
				return nil, err
			}
			c = whole.Compare(sa[:min(n, len(sa))], sb, truth)
		}
		return c, nil
	}
	at.begin(sides[1])
	c, err := judge(d.after, opts.MaxTokens)
	if err != nil {
		return nil, err
	}
	out := &modelVerified{Prompt: text, PromptTokens: len(prompt), Tokens: c.Steps, Verdict: string(c.Verdict), Why: c.Why, FirstDiff: c.First, Before: c.A, After: c.B,
		Margin: c.Margin, MarginStep: c.MarginStep, MaxError: c.MaxError, Error: c.Error, StockError: c.Stock, StepError: c.StepError}
	if math.IsInf(out.Margin, 0) {
		out.Margin = 0
	}
	if c.First >= 0 {
		o := opts
		o.PrefillStep = max(1, (len(prompt)-1)/2)
		at.aside("unrewritten, the prompt in other chunks")
		_, sc, err := whole.Steps(ctx, d.before, prompt, o)
		if err != nil {
			return nil, err
		}
		self := decode.Compare(sa, sc)
		out.Other = &otherChunks{o.PrefillStep, self.First, self.MaxError}
	}
	if c.Verdict != whole.Differs {
		return out, nil
	}
	at.line.clear()
	fmt.Fprintf(a.progress, "%q differs: looking for the application that does it\n", text)
	host, n := d.r.host(), c.Steps
	if c.First >= 0 {
		n = c.First + 1
	}
	tried := 0
	culprit, err := host.Bisect(ctx, d.s.program, d.s.cfg, d.s.res, func(p *graph.Program) (bool, error) {
		tried++
		at.aside(fmt.Sprintf("program %d with a part of the rewrite", tried))
		g, done, err := d.r.generator(ctx, &programs{plain: p})
		if err != nil {
			return false, err
		}
		defer done()
		c, err := judge(g, n)
		if err != nil {
			return false, err
		}
		return c.Verdict == whole.Differs, nil
	})
	if err != nil {
		return nil, err
	}
	at.aside("unrewritten, with both graphs of what differs")
	if err := host.Look(ctx, d.s.program, d.s.res, culprit, prompt, stock.Tokens[:n-1], opts); err != nil {
		return nil, err
	}
	out.Culprit = &culpritVerdict{Rule: culprit.Use.Rule.Name, Scope: culprit.Use.Scope, Case: culprit.Use.Case, Round: culprit.Use.Round,
		Index: culprit.Index, Of: culprit.Of, Programs: culprit.Tried, Why: culprit.Why}
	if f := culprit.First; f != nil {
		x := out.Culprit
		x.Call, x.Value, x.Op, x.Element, x.Before, x.After, x.Why = f.Call, f.Value, f.Op, f.Index, f.Before, f.After, f.Why
	}
	return out, nil
}

// inFloat32 reports whether a model's logits are float32: then it is its own measure.
func inFloat32(p *graph.Program) bool {
	g := p.Cases[0].Graph
	return slices.ContainsFunc(g.Outputs(), func(o graph.Output) bool {
		return o.Name == "logits" && g.Type(o.Value).DType == graph.Float32
	})
}

// measureInFloat32 makes MLX on NVIDIA multiply float32 in float32, and not in TF32 with the
// mantissa of a float16: for models in 16 bits float32 is the measure. It comes before the
// first product. Models in float32 run as their users have it.
func measureInFloat32(p *graph.Program) {
	if os.Getenv("MLX_ENABLE_TF32") == "" && !inFloat32(p) {
		os.Setenv("MLX_ENABLE_TF32", "0")
	}
}

// measure is the unrewritten model in float32, loaded when it is needed.
type measure struct {
	path, dtype string
	r           *runner
	g           *decode.Generator
	done        func()
}

func (m *measure) close() {
	if m.done != nil {
		m.done()
	}
}

// along returns the model's logits in float32 for a prompt and the tokens behind it.
func (m *measure) along(ctx context.Context, prompt, tokens []int, o decode.Options) (list []decode.Step, err error) {
	if m.g == nil {
		if m.g, m.done, err = m.r.truth(ctx, m.path, m.dtype, ""); err != nil {
			return nil, err
		}
	}
	return whole.Along(ctx, m.g, prompt, tokens, o)
}

func (a *app) printModelVerified(v *modelVerified, format string) error {
	if format == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	fmt.Fprintf(a.stdout, "%q: %s\n", v.Prompt, v.Verdict)
	if v.FirstDiff < 0 {
		fmt.Fprintf(a.stdout, "  %d tokens equal · smallest margin (top1 − top2) %.4g at step %d", v.Tokens, v.Margin, v.MarginStep)
	} else {
		fmt.Fprintf(a.stdout, "  tokens part at step %d (%d before, %d after): the margin there was %.4g, where the unrewritten model is off by up to %.3g", v.FirstDiff, v.Before, v.After, v.Margin, v.StepError)
	}
	switch {
	case v.StockError > 0:
		fmt.Fprintf(a.stdout, " · error against float32 %.3g, unrewritten %.3g\n", v.Error, v.StockError)
	case v.Verdict != string(whole.BitExact):
		fmt.Fprintf(a.stdout, " · largest logit error %.3g\n", v.MaxError)
	default:
		fmt.Fprintln(a.stdout)
	}
	if o := v.Other; o != nil {
		what := "makes the same tokens"
		if o.FirstDiff >= 0 {
			what = fmt.Sprintf("parts from itself at step %d", o.FirstDiff)
		}
		fmt.Fprintf(a.stdout, "  the unrewritten model, its prompt in chunks of %d, %s; largest logit error %.3g\n", o.PrefillStep, what, o.MaxError)
	}
	if v.Why != "" {
		fmt.Fprintf(a.stdout, "  %s\n", v.Why)
	}
	c := v.Culprit
	if c == nil {
		return nil
	}
	fmt.Fprintf(a.stdout, "  one application of %d does it (%d programs tried): %s at %s, case %s\n", c.Of, c.Programs, c.Rule, c.Scope, c.Case)
	if c.Value == "" {
		fmt.Fprintf(a.stdout, "  %s\n", c.Why)
		return nil
	}
	fmt.Fprintf(a.stdout, "  first value that differs: %s (%s), element %v in call %d: %v before, %v after (%s)\n", c.Value, c.Op, c.Element, c.Call, c.Before, c.After, c.Why)
	return nil
}
