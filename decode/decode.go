// Package decode turns a loaded program into text: prefill in chunks, one token
// after the other, caches that grow, sampling, and the comparison of two token
// streams. It does what mlx_lm.generate does, in the same order, so that the same
// program gives the same tokens. It knows no rules and loads no models.
package decode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/graph"
)

// mlx-lm's default.
const PrefillStep = 2048 // tokens of one chunk of a prompt

// Options of one generation.
type Options struct {
	MaxTokens   int     // at most so many tokens are made
	PrefillStep int     // 0: PrefillStep
	EOS         []int   // tokens that end the text; none for benchmarks
	Sampler     Sampler // nil: the most likely token
	// Logits makes every Token carry its logits. It costs a copy a token.
	Logits bool
	// OnToken is told of each token as soon as it is known; an error ends the
	// generation, ErrStop as an end token does.
	OnToken func(Token) error
	// OnPrompt is told how many tokens of the prompt have been read of how many: before the first chunk,
	// after each, and about once a second in one that takes longer, where it is the share of its layers.
	// The last token of a prompt is read with the first one that is made.
	OnPrompt func(read, all int)
	// Whole makes the caches hold the last token, too, as mlx-lm's do: for what goes on
	// from them. It takes a step more.
	Whole bool
}

// ErrStop is what OnToken returns where the text is complete.
var ErrStop = errors.New("the text is complete")

// Token is one step of a generation.
type Token struct {
	ID     int
	Logits []float32 // of the whole vocabulary, before sampling; nil unless asked for
}

// Result is a finished generation.
type Result struct {
	Prompt     []int
	Tokens     []int
	Calls      []int  // how many tokens each call of the model took
	Plain      int    // so many of these came before the caches were quantized
	FromDraft  int    // so many tokens were those of a draft
	Finish     string // "stop": an end token came; "length": MaxTokens were made
	PromptTime time.Duration
	Times      []time.Duration // when each token was known, counted from the first
}

// PromptTPS is the speed of the prompt in tokens per second, the first new token
// included, as mlx-lm counts it.
func (r *Result) PromptTPS() float64 { return float64(len(r.Prompt)) / r.PromptTime.Seconds() }

// TPS is the speed of generation in tokens per second; 0 for fewer than two tokens.
func (r *Result) TPS() float64 {
	if len(r.Tokens) < 2 {
		return 0
	}
	return float64(len(r.Tokens)-1) / r.Times[len(r.Times)-1].Seconds()
}

// Generator runs a session token by token. It keeps the caches; Reset forgets them.
type Generator struct {
	engine  engine.Engine
	session engine.Session
	program *graph.Program
	head    engine.Session
	greedy  engine.Session // nil, or what makes only the next token
	batch   int            // sequences; more than one only for Together
	caches  *cache.Caches
	first   *cache.Caches // of the session's program; caches are these until they are quantized
	vocab   int
	logits  graph.DType
	calls   []int
	plain   int // calls before the caches were quantized
	keep    int // rows of rings that stay for good

	quantized *Quantized
	switched  bool // the caches are those of the quantized program
}

// Quantized is the program that takes over once a sequence has Start tokens, with the
// caches that package kvquant gives it: mlx-lm's kv_bits and quantized_kv_start. It looks
// for that behind each call, so the first call of a prompt always has the plain program.
type Quantized struct {
	Session engine.Session
	Program *graph.Program
	Start   int
}

// Quantize makes the generator go over to q. It comes before the first prompt.
func (g *Generator) Quantize(q *Quantized) { g.quantized = q }

// New returns a generator for a program that a session has loaded. The program has
// the signature that package models gives: tokens, offset and caches in, logits and
// caches out. Close it before the session.
func New(ctx context.Context, e engine.Engine, s engine.Session, p *graph.Program) (*Generator, error) {
	return NewBatch(ctx, e, s, p, 1)
}

// NewBatch is New for so many sequences side by side, for Together.
func NewBatch(ctx context.Context, e engine.Engine, s engine.Session, p *graph.Program, batch int) (*Generator, error) {
	caches, err := cache.New(e, p, batch)
	if err != nil {
		return nil, err
	}
	g := &Generator{engine: e, session: s, program: p, batch: batch, first: caches, caches: caches}
	gr := p.Cases[0].Graph
	for _, o := range gr.Outputs() {
		if o.Name == "logits" {
			t := gr.Type(o.Value)
			d, _ := t.Dim(-1)
			n, ok := d.Const()
			if !ok {
				return nil, fmt.Errorf("program %s: the vocabulary of its logits is not a number", p.Name)
			}
			g.vocab, g.logits = int(n), t.DType
			head, err := headProgram(t.DType, batch, d, "next", "row", "logprobs")
			if err != nil {
				return nil, err
			}
			if g.head, err = e.Load(ctx, head, nil); err != nil {
				return nil, err
			}
		}
	}
	if g.head == nil {
		return nil, fmt.Errorf("program %s has no output logits", p.Name)
	}
	return g, nil
}

// headProgram computes, from logits [batch, seq_len, vocab], those of the last
// position, their log-probabilities, and the most likely token as the next step's input. mlx-lm takes the
// largest of the log-probabilities, not of the logits; they may tie where logits do not.
func headProgram(t graph.DType, batch int, vocab graph.Dim, want ...string) (*graph.Program, error) {
	var outputs []output
	for _, o := range []output{{"next", "next"}, {"row", "wide"}, {"logprobs", "sampled"}} {
		if slices.Contains(want, o.name) {
			outputs = append(outputs, o)
		}
	}
	return programOf([]input{logitsInput(t, batch, vocab)}, outputs,
		"last", "slice(logits, axis=-2, start=seq_len-1)",
		"row", "squeeze(last, axis=-2)",
		"logprobs", "subtract(row, logsumexp(row, axis=-1, keepdims=true))",
		"best", "argmax(logprobs, axis=-1)",
		"next", "expand_dims(astype(best, int32), axis=-1)",
		"wide", "astype(row, float32)",
		"sampled", "astype(logprobs, float32)",
	)
}

// Reset forgets what was generated, so that the next prompt starts anew.
func (g *Generator) Reset() {
	g.caches.Reset()
	g.caches, g.switched = g.first, false // which is empty, too
}

// LogitsType is the element type of the program's logits.
func (g *Generator) LogitsType() graph.DType { return g.logits }

// KeepFirst makes rings keep their first n rows for good. It comes before the first prompt.
func (g *Generator) KeepFirst(n int) {
	g.keep = n
	g.caches.KeepFirst(n)
}

// Save writes what the caches hold to a prompt cache file, which mlx-lm reads, too. meta
// says what made it.
func (g *Generator) Save(path string, meta map[string]string) error { return g.caches.Save(path, meta) }

// Restore takes the caches from a file. If it is quantized, the program of Quantize goes
// on from there.
func (g *Generator) Restore(f *cache.File) error {
	p := g.program
	if f.Bits > 0 {
		if g.quantized == nil {
			return fmt.Errorf("%s is quantized, and there is no program for that", f.Path)
		}
		p = g.quantized.Program
	}
	c, err := f.Caches(g.engine, p, g.keep)
	if err != nil {
		return err
	}
	g.Reset()
	if f.Bits > 0 {
		g.caches, g.switched = c, true
		return nil
	}
	g.caches, g.first = c, c
	return nil
}

// Close releases the caches.
func (g *Generator) Close() error {
	g.Reset()
	return g.head.Close()
}

// step feeds tokens [batch, n] to the model, and returns its logits, not computed yet.
// tokens is borrowed, or handed over with engine.Take.
func (g *Generator) step(ctx context.Context, tokens engine.Tensor, n int) (engine.Tensor, error) {
	session := g.session
	if g.switched {
		session = g.quantized.Session
	} else {
		g.plain++
	}
	out, err := g.caches.Step(ctx, session, tokens, n)
	if err != nil {
		return nil, err
	}
	g.calls = append(g.calls, n)
	if q := g.quantized; q != nil && !g.switched && g.caches.Offset() >= q.Start {
		c, err := g.caches.Quantize(ctx, q.Program)
		if err != nil {
			for _, t := range out {
				t.Release()
			}
			return nil, err
		}
		g.caches, g.switched = c, true
	}
	return out["logits"], nil
}

// tokens are those of one call: of each sequence as many, one sequence after the other.
func (g *Generator) tokens(ids []int) (engine.Tensor, error) {
	data := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		if id < 0 || id >= g.vocab {
			return nil, fmt.Errorf("token %d is not in the vocabulary of %d", id, g.vocab)
		}
		data = binary.LittleEndian.AppendUint32(data, uint32(id))
	}
	return g.engine.NewTensor(graph.Int32, []int{g.batch, len(ids) / g.batch}, data)
}

// prefill feeds all of a prompt but its last token, in chunks.
func (g *Generator) prefill(ctx context.Context, prompt []int, o *Options) error {
	all := len(prompt)
	for {
		if o.OnPrompt != nil {
			o.OnPrompt(all-len(prompt), all)
		}
		n := min(o.PrefillStep, len(prompt)-1)
		if n == len(prompt)-1 { // the text comes behind this chunk
			g.caches.Expect(len(prompt) + o.MaxTokens)
		}
		if n == 0 {
			return nil
		}
		t, err := g.tokens(prompt[:n])
		if err != nil {
			return err
		}
		logits, err := g.step(ctx, engine.Take(t), n)
		if err != nil {
			return err
		}
		logits.Release() // never computed: nobody asks for it
		if err := g.settle(ctx, o, all-len(prompt), n, all); err != nil {
			return err
		}
		prompt = prompt[n:]
	}
}

// partTime is how long a part of a chunk is meant to take.
var partTime = time.Second

// settle computes what a chunk of n tokens leaves in the caches. Where somebody is told, it does so
// in parts: the state is in the order of layers, and a chunk of 2,048 tokens may take minutes, in
// which nothing would be said and ctrl-C not be heard. The first part is small; how long it took
// says how many layers the next one may have, so that a fast chunk has three parts or four, which cost
// nothing. The bits are the same, since the ops are.
func (g *Generator) settle(ctx context.Context, o *Options, read, n, all int) error {
	list := g.caches.Tensors()
	if o.OnPrompt == nil {
		return g.compute(ctx, list)
	}
	begun := time.Now()
	told := begun
	for done, size := 0, 4; done < len(list); {
		size = min(size, len(list)-done)
		if err := g.compute(ctx, list[done:done+size]); err != nil {
			return err
		}
		done += size
		now := time.Now()
		if done < len(list) && now.Sub(told) >= partTime/2 {
			told = now
			o.OnPrompt(read+n*done/len(list), all)
		}
		// Of all so far: of a layer's state the keys take nearly all the time, and the values none.
		fit := int(partTime / max(1, now.Sub(begun)/time.Duration(done)))
		size = max(1, min(fit, 4*size))
	}
	return nil
}

// compute computes what a chunk leaves in the caches, in the order of layers: two layers are waited for
// when the next two have begun. MLX starts a GPU's work far ahead of it, and what that reads stays in
// memory until it is done: of Qwen3-30B-A3B's unpacked experts 20 GB.
func (g *Generator) compute(ctx context.Context, list []engine.Tensor) error {
	const part = 4 // keys and values of two layers, where a layer has these
	for len(list) > part {
		if err := g.engine.AsyncEval(list[:min(2*part, len(list))]...); err != nil {
			return err
		}
		if err := g.engine.Eval(ctx, list[:part]...); err != nil {
			return err
		}
		list = list[part:]
	}
	return g.engine.Eval(ctx, list...)
}

// next feeds one token and returns what headProgram makes of the logits behind it, or only
// the most likely token.
func (g *Generator) next(ctx context.Context, token engine.Tensor, only bool) (*under, error) {
	logits, err := g.step(ctx, token, 1)
	if err != nil {
		return nil, err
	}
	head := g.head
	if only && g.greedy != nil {
		head = g.greedy
	}
	out, err := head.Step(ctx, map[string]engine.Tensor{"logits": engine.Take(logits)}, nil)
	if err != nil {
		return nil, err
	}
	return &under{out["next"], out["row"], out["logprobs"]}, nil
}

// under is a step under way: the most likely token, logits and log-probabilities; the
// latter two are nil where only the token was made.
type under struct{ next, row, logprobs engine.Tensor }

func (u *under) release() {
	if u == nil {
		return
	}
	for _, t := range []engine.Tensor{u.next, u.row, u.logprobs} {
		if t != nil {
			t.Release()
		}
	}
}

// Generate continues a prompt of at least one token. What the caches hold from
// before comes first. Step n+1 is under way before token n is read.
func (g *Generator) Generate(ctx context.Context, prompt []int, o Options) (*Result, error) {
	if len(prompt) == 0 {
		return nil, fmt.Errorf("the prompt has no tokens")
	}
	if g.batch != 1 {
		return nil, fmt.Errorf("a generator of %d sequences makes tokens of all of them together", g.batch)
	}
	if o.PrefillStep <= 0 {
		o.PrefillStep = PrefillStep
	}
	r := &Result{Prompt: prompt, Finish: "length"}
	g.calls, g.plain = nil, 0
	defer func() { r.Calls, r.Plain = g.calls, g.plain }()
	start := time.Now()
	if err := g.prefill(ctx, prompt, &o); err != nil {
		return nil, err
	}
	if o.MaxTokens < 1 && !o.Whole {
		r.PromptTime = time.Since(start)
		return r, nil
	}
	feed, err := g.tokens(prompt[len(prompt)-1:])
	if err != nil {
		return nil, err
	}
	p := &pipeline{g: g, o: &o}
	defer p.release()
	if err := p.dispatch(ctx, engine.Take(feed)); err != nil {
		return nil, err
	}
	if o.MaxTokens < 1 {
		err := p.finish(ctx)
		r.PromptTime = time.Since(start)
		return r, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		tok, err := p.take(ctx, o.Whole || len(r.Tokens)+1 < o.MaxTokens)
		if err != nil {
			return r, err
		}
		if done, err := r.take(tok, &o, &start); err != nil {
			return r, err
		} else if done {
			return r, p.finish(ctx)
		}
	}
}

// take adds a token, and reports whether it is the last. start is the time when the prompt was given, and
// that of the first token from then on.
func (r *Result) take(tok Token, o *Options, start *time.Time) (done bool, err error) {
	if len(r.Tokens) == 0 {
		r.PromptTime = time.Since(*start)
		*start = start.Add(r.PromptTime)
	}
	r.Tokens = append(r.Tokens, tok.ID)
	r.Times = append(r.Times, time.Since(*start))
	if o.OnToken != nil {
		if err := o.OnToken(tok); errors.Is(err, ErrStop) {
			r.Finish = "stop"
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
	if slices.Contains(o.EOS, tok.ID) {
		r.Finish = "stop"
		return true, nil
	}
	return len(r.Tokens) >= o.MaxTokens, nil
}

// pipeline keeps one step under way.
type pipeline struct {
	g *Generator
	o *Options
	*under
}

func (p *pipeline) release() {
	p.under.release()
	p.under = nil
}

// finish waits for the end of a step that nobody will read.
func (p *pipeline) finish(ctx context.Context) error {
	if p.under == nil {
		return nil
	}
	if err := p.g.engine.Eval(ctx, p.next); err != nil || !p.o.Whole {
		return err
	}
	return p.g.engine.Eval(ctx, p.g.caches.Tensors()...)
}

// dispatch starts the step that token feeds.
func (p *pipeline) dispatch(ctx context.Context, token engine.Tensor) error {
	var err error
	if p.under, err = p.g.next(ctx, token, p.o.Sampler == nil && !p.o.Logits); err != nil {
		return err
	}
	want := []engine.Tensor{p.next}
	if p.o.Sampler != nil {
		want = []engine.Tensor{p.logprobs}
	}
	if p.o.Logits {
		want = append(want, p.row)
	}
	want = append(want, p.g.caches.Unread()...)
	return p.g.engine.AsyncEval(want...)
}

// take returns the token of the step under way, having started the one after it
// if there is to be one.
func (p *pipeline) take(ctx context.Context, more bool) (tok Token, err error) {
	u := p.under
	p.under = nil
	defer u.release()
	if p.o.Sampler == nil {
		if more { // the next step reads the token on the device, before we do
			if err := p.dispatch(ctx, u.next); err != nil {
				return Token{}, err
			}
		}
		data, err := u.next.Read()
		if err != nil {
			return Token{}, err
		}
		tok.ID = int(int32(binary.LittleEndian.Uint32(data)))
	} else {
		logprobs, err := floats(u.logprobs)
		if err != nil {
			return Token{}, err
		}
		tok.ID = p.o.Sampler.Sample(logprobs)
		if more {
			feed, err := p.g.tokens([]int{tok.ID})
			if err != nil {
				return tok, err
			}
			if err := p.dispatch(ctx, engine.Take(feed)); err != nil {
				return tok, err
			}
		}
	}
	if p.o.Logits {
		tok.Logits, err = floats(u.row)
	}
	return tok, err
}
