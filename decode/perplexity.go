package decode

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/graph"
)

// Perplexity is how well a program predicts text, as mlx_lm.perplexity has it: the
// exponential of the mean cross entropy of all tokens of all rows but their first.
type Perplexity struct {
	Value  float64
	Error  float64 // standard error, to first order
	Tokens int     // that were predicted
}

// Measure computes the perplexity of rows of tokens, all of one length of at least 2, so
// many at once. The session has loaded p. progress is told how many rows are done, and what the
// perplexity of these is; it may be nil.
func Measure(ctx context.Context, e engine.Engine, s engine.Session, p *graph.Program, rows [][]int, batch int, progress func(done int, of *Perplexity)) (*Perplexity, error) {
	if len(rows) == 0 || len(rows[0]) < 2 || batch < 1 {
		return nil, fmt.Errorf("%d rows of tokens, %d at once: there is nothing to predict", len(rows), batch)
	}
	logits := graph.NoDType
	var vocab graph.Dim
	for _, o := range p.Cases[0].Graph.Outputs() {
		if o.Name == "logits" {
			t := p.Cases[0].Graph.Type(o.Value)
			logits, vocab = t.DType, t.Shape[len(t.Shape)-1]
		}
	}
	loss, err := lossProgram(logits, vocab)
	if err != nil {
		return nil, err
	}
	head, err := e.Load(ctx, loss, nil)
	if err != nil {
		return nil, err
	}
	defer head.Close()
	var sum, squares float64
	var r *Perplexity
	n := 0
	for at := 0; at < len(rows); at += batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		some := rows[at:min(at+batch, len(rows))]
		losses, err := lossesOf(ctx, e, s, head, p, vocab, some)
		if err != nil {
			return nil, err
		}
		for _, x := range losses {
			sum += float64(x)
			squares += float64(x) * float64(x)
		}
		n += len(losses)
		r = perplexityOf(sum, squares, n)
		if progress != nil {
			progress(at+len(some), r)
		}
	}
	return r, nil
}

// perplexityOf computes it from the sums of n losses and of their squares.
func perplexityOf(sum, squares float64, n int) *Perplexity {
	mean := sum / float64(n)
	r := &Perplexity{Value: math.Exp(mean), Tokens: n}
	if n > 1 {
		variance := (squares - float64(n)*mean*mean) / float64(n-1)
		r.Error = r.Value * math.Sqrt(max(0, variance)/float64(n))
	}
	return r
}

// lossProgram is nn.losses.cross_entropy of logits in float32.
func lossProgram(t graph.DType, vocab graph.Dim) (*graph.Program, error) {
	b, l := graph.Sym(graph.SymBatch), graph.Sym(graph.SymSeqLen)
	return programOf([]input{{"logits", graph.T(t, b, l, vocab)}, {"targets", graph.T(graph.Int32, b, l)}}, []output{{"loss", "loss"}},
		"wide", "astype(logits, float32)",
		"score", "squeeze(take_along_axis(wide, expand_dims(targets, axis=-1), axis=-1), axis=-1)",
		"loss", "subtract(logsumexp(wide, axis=-1), score)",
	)
}

func lossesOf(ctx context.Context, e engine.Engine, s, head engine.Session, p *graph.Program, vocab graph.Dim, rows [][]int) ([]float32, error) {
	length := len(rows[0]) - 1
	var in, targets []byte
	for _, row := range rows {
		if len(row) != length+1 {
			return nil, fmt.Errorf("rows of %d and of %d tokens", length+1, len(row))
		}
		for _, id := range row {
			if n, ok := vocab.Const(); id < 0 || ok && int64(id) >= n {
				return nil, fmt.Errorf("token %d is not in the vocabulary of %s", id, vocab)
			}
		}
		for i := range length {
			in = binary.LittleEndian.AppendUint32(in, uint32(row[i]))
			targets = binary.LittleEndian.AppendUint32(targets, uint32(row[i+1]))
		}
	}
	tokens, err := e.NewTensor(graph.Int32, []int{len(rows), length}, in)
	if err != nil {
		return nil, err
	}
	c, err := cache.New(e, p, len(rows))
	if err != nil {
		tokens.Release()
		return nil, err
	}
	defer c.Reset()
	out, err := c.Step(ctx, s, engine.Take(tokens), length)
	if err != nil {
		return nil, err
	}
	want, err := e.NewTensor(graph.Int32, []int{len(rows), length}, targets)
	if err != nil {
		out["logits"].Release()
		return nil, err
	}
	out, err = head.Step(ctx, map[string]engine.Tensor{"logits": engine.Take(out["logits"]), "targets": engine.Take(want)}, nil)
	if err != nil {
		return nil, err
	}
	defer out["loss"].Release()
	return floats(out["loss"])
}
