package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/verify/mlxlm"
	"zmlx-rewrite/verify/whole"
)

// mlxLM is the name of the one oracle.
const mlxLM = "mlx-lm"

// oracled is the JSON form of a comparison with mlx-lm. Fields may be added, these stay.
type oracled struct {
	Name        string  `json:"name" jsonschema:"of the oracle: mlx-lm"`
	Version     string  `json:"version" jsonschema:"of the oracle"`
	Python      string  `json:"python" jsonschema:"that it ran in"`
	Tokens      int     `json:"tokens" jsonschema:"that it made"`
	TPS         float64 `json:"generation_tps" jsonschema:"tokens a second"`
	Unrewritten beside  `json:"unrewritten" jsonschema:"held against it"`
	Rewritten   beside  `json:"rewritten" jsonschema:"held against it"`
}

// beside is one program against the oracle; the verdicts are those of validated.
type beside struct {
	Verdict   string  `json:"verdict" jsonschema:"as beside a prompt"`
	FirstDiff int     `json:"first_difference" jsonschema:"step at which tokens part; -1 if they do not"`
	Margin    float64 `json:"margin" jsonschema:"of the oracle, at the first difference, else its smallest"`
	MaxError  float64 `json:"max_logit_error" jsonschema:"against the logits of the oracle"`
}

// startOracle finds a Python with mlx-lm: the one that is named, that of the checkout's
// set-up, or one on the path.
func startOracle(ctx context.Context, model, dtype string) (*mlxlm.Oracle, error) {
	pythons := []string{os.Getenv("ZMLX_PYTHON")}
	if pythons[0] == "" {
		pythons = []string{"python3", "python"}
		if p := firstFile("", ".cache/oracle/venv/bin/python"); p != "" {
			pythons = append([]string{p}, pythons...)
		}
	}
	o, err := mlxlm.Start(ctx, pythons, model, dtype)
	var missing *mlxlm.Missing
	if errors.As(err, &missing) {
		return nil, lacks("%v\n  pip install mlx-lm, and name its Python with ZMLX_PYTHON=/path/to/python", err)
	}
	return o, err
}

// ask has mlx-lm go on from a prompt, and holds both programs against what it makes.
func (d *duel) ask(ctx context.Context, oracle *mlxlm.Oracle, o *options, prompt []int, ways [2]way, steps [2][]decode.Step, t *truth) (*oracled, error) {
	request := mlxlm.Request{Prompt: prompt, MaxTokens: ways[0].MaxTokens, PrefillStep: ways[0].PrefillStep, EOS: ways[0].EOS}
	if o.kv.Bits > 0 {
		request.KV = map[string]int{"kv_bits": o.kv.Bits, "kv_group_size": o.kv.GroupSize, "quantized_kv_start": o.kv.start}
	}
	res, err := oracle.Generate(request)
	if err != nil {
		return nil, err
	}
	out := &oracled{Name: mlxLM, Version: oracle.Version, Python: oracle.Python, Tokens: len(res.Steps), TPS: res.TPS()}
	for side, b := range []*beside{&out.Unrewritten, &out.Rewritten} {
		c := decode.Compare(res.Steps, steps[side])
		*b = beside{"token-identical", c.First, c.Margin, c.MaxError}
		switch {
		case c.First < 0 && c.Exact:
			b.Verdict = "bit-exact"
		case c.First < 0:
		case !inFloat32(d.s.program):
			exact, err := t.get()
			if err != nil {
				return nil, err
			}
			f, err := hold(ctx, prompt, res.Steps, ways[side], steps[side], way{exact, ways[side].Options})
			if err != nil {
				return nil, err
			}
			b.Verdict = verdictOf(f)
		default:
			b.Verdict = verdictOf(whole.Compare(res.Steps, steps[side], nil))
		}
	}
	return out, nil
}

// any reports whether a verdict of either program is such a one.
func (o *oracled) any(is func(verdict string) bool) bool {
	return o != nil && (is(o.Unrewritten.Verdict) || is(o.Rewritten.Verdict))
}

func (o *oracled) print(w io.Writer) {
	if o == nil {
		return
	}
	fmt.Fprintf(w, "  %s %s: %d tokens, %.2f tokens/s\n", o.Name, o.Version, o.Tokens, o.TPS)
	for side, b := range []*beside{&o.Unrewritten, &o.Rewritten} {
		where := "all tokens equal"
		if b.FirstDiff >= 0 {
			where = fmt.Sprintf("tokens part at step %d, its margin there %.4g", b.FirstDiff, b.Margin)
		}
		fmt.Fprintf(w, "    %-11s %s · %s · largest logit error %.3g\n", sides[side], b.Verdict, where, b.MaxError)
	}
}
