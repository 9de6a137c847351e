// Package whole compares models: the unrewritten and the rewritten program make tokens of
// the same prompt, and their logits are held against those of the unrewritten program in
// float32. Where the rewritten one is wrong, it finds the one application of a rule
// without which it is right.
//
// It chooses no rules, reads no files and prints nothing.
package whole

import (
	"context"
	"fmt"
	"math"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models/weights"
)

// Host is where programs run.
type Host struct {
	Engine  engine.Engine
	Catalog *kernels.Catalog
	Keeps   func(*kernels.Spec) bool // the kernels that the engine launches; others run as their references
	Weights *weights.Store           // with what rules derived
	Batch   int                      // sequences side by side; 0: one
}

// Load makes a program ready to generate. Close what it returns by calling done.
func (h *Host) Load(ctx context.Context, p *graph.Program) (g *decode.Generator, done func(), err error) {
	plain, err := h.Catalog.Expand(p, h.Keeps)
	if err != nil {
		return nil, nil, err
	}
	s, err := h.Engine.Load(ctx, plain, h.Weights)
	if err != nil {
		return nil, nil, err
	}
	if g, err = decode.NewBatch(ctx, h.Engine, s, plain, max(h.Batch, 1)); err != nil {
		s.Close()
		return nil, nil, err
	}
	return g, func() { g.Close(); s.Close() }, nil
}

// Steps makes tokens of a prompt, from empty caches, with their logits.
func Steps(ctx context.Context, g *decode.Generator, prompt []int, o decode.Options) (*decode.Result, []decode.Step, error) {
	var list []decode.Step
	o.Logits = true
	told := o.OnToken
	o.OnToken = func(t decode.Token) error {
		list = append(list, decode.Step(t))
		if told != nil {
			return told(t)
		}
		return nil
	}
	g.Reset()
	r, err := g.Generate(ctx, prompt, o)
	return r, list, err
}

// Along returns the logits of a model that is given the tokens that another one made.
func Along(ctx context.Context, g *decode.Generator, prompt []int, tokens []int, o decode.Options) ([]decode.Step, error) {
	o.Sampler, o.EOS, o.MaxTokens = decode.Follow(tokens), nil, len(tokens)
	_, list, err := Steps(ctx, g, prompt, o)
	return list, err
}

// Verdict is the outcome for one prompt.
type Verdict string

const (
	BitExact  Verdict = "bit-exact"       // all logits have the same bits
	Identical Verdict = "token-identical" // the tokens are the same, and the logits as good
	NearTie   Verdict = "near-tie"        // tokens part where the model itself could not tell
	Differs   Verdict = "differs"
)

// farther is how many times the error of the unrewritten model against float32 that of
// the rewritten one may be. Every layer's rounding is carried on by the layers behind it,
// so that errors of two orders of summation differ by more than those of single
// replacements, for which package sites has a narrower bound.
const farther = 1.5

// nothing is an error, as a share of the largest logit, that float32 itself makes in
// so many roundings one behind the other: 2^-24 for each, a thousand of them.
const nothing = 0x1p-14

// Comparison is what came of one prompt.
type Comparison struct {
	*decode.Comparison
	Verdict Verdict
	Why     string // if it differs
	// Tie: tokens part nowhere, or where the unrewritten model itself could not tell.
	Tie bool
	// Errors against the unrewritten program in float32, along the same tokens: the root
	// of the mean square over all logits. 0 if there is no measure: the model is float32.
	Error, Stock float64
	// What the errors were measured of: the rewritten program and float32 along the same tokens.
	Led, Truth []decode.Step
	// Largest error of the unrewritten program at the step where tokens part.
	StepError float64
}

// Closer reports whether the rewritten program is no further from float32 than the
// unrewritten one.
func (c *Comparison) Closer() bool { return c.Error <= c.Stock }

// Tied reports whether a model could not tell two tokens apart: the better one leads by no
// more than its logits are off by.
func Tied(lead, own float64) bool { return lead <= own }

// Compare judges the steps b of a rewritten program by those of the unrewritten one, a, and
// of the unrewritten one in float32 along the same tokens, which may be nil for a model in
// float32.
//
// Tokens may part only at a near tie: where a's best token leads b's by no more than
// a itself is off by there. In float32 that is next to nothing. Up to there the logits must
// be as close to float32 as farther allows.
func Compare(a, b, truth []decode.Step) *Comparison {
	c := decode.Compare(a, b)
	return judge(c, a, b, b[:min(c.Steps, len(b))], truth)
}

// CompareLed is Compare with more to go by: led are the steps of the rewritten program when
// it is given all of a's tokens, so that it is held against float32 behind the step where
// its own part from them, too.
func CompareLed(a, b, led, truth []decode.Step) *Comparison {
	return judge(decode.Compare(a, b), a, b, led, truth)
}

func judge(of *decode.Comparison, a, b, led, truth []decode.Step) *Comparison {
	c := &Comparison{Comparison: of, Verdict: Identical, Tie: true, Led: led, Truth: truth}
	if c.Exact && c.First < 0 {
		c.Verdict = BitExact
		return c
	}
	if c.First >= len(a) || c.First >= len(b) { // one text ended earlier, on the same tokens: its end is a token, too
		c.Verdict, c.Why, c.Tie = Differs, "one text is longer than the other", false
		return c
	}
	top := 0.0
	for _, s := range a[:min(c.Steps, len(a))] {
		for _, v := range s.Logits {
			top = max(top, math.Abs(float64(v)))
		}
	}
	own := nothing * top // what a is off by
	var stock decode.Errors
	if n := min(len(a), len(led), len(truth)); n > 0 {
		stock = decode.MeasureErrors(a[:n], truth[:n])
		c.Stock, c.Error = stock.RMS, decode.MeasureErrors(led[:n], truth[:n]).RMS
		if !(c.Error <= farther*c.Stock+own) {
			c.Verdict, c.Why = Differs, fmt.Sprintf("its logits are off by %.3g against float32, those of the unrewritten model by %.3g: more than %v times", c.Error, c.Stock, farther)
		}
	} else if !(c.MaxError <= own) {
		c.Verdict, c.Why = Differs, fmt.Sprintf("logits of up to %.3g differ by %.3g in float32: more than %.3g", top, c.MaxError, own)
	}
	if c.First < 0 {
		return c
	}
	c.StepError = own
	if c.First < len(stock.Steps) {
		c.StepError = stock.Steps[c.First]
	}
	s := a[c.First]
	lead := float64(s.Logits[c.A]) - float64(s.Logits[c.B])
	c.Tie = Tied(lead, c.StepError)
	switch {
	case c.Verdict == Differs:
	case c.Tie:
		c.Verdict = NearTie
	default:
		c.Verdict, c.Why = Differs, fmt.Sprintf("it prefers token %d, by which %d leads by %.3g in the unrewritten model, which is off by %.3g there", c.B, c.A, lead, c.StepError)
	}
	return c
}
