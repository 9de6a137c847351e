package whole

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/cache"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/verify/sites"
)

// Culprit is the application of a rule that a model is right without and wrong with.
type Culprit struct {
	Use   sites.Use
	Index int // among the applications of the plan, in order
	Of    int
	Tried int // programs
	// First is the first value that it makes other than MLX's own ops, by more than its
	// contract allows, on what the model itself feeds it; nil if none is found, which Why
	// explains.
	First *First
	Why   string
}

// First is where a replacement went wrong first.
type First struct {
	Call  int // of the model, from 0: the chunks of the prompt, then one token each
	Value string
	*sites.Difference
}

// Sites returns the applications of a plan in an order in which every prefix can be
// applied: case by case, and in each as they were applied.
func Sites(res *rewrite.Result) []sites.Use {
	seen := map[rewrite.SiteID]bool{}
	var list []sites.Use
	for i := range res.Cases {
		c := &res.Cases[i]
		for k := range c.Sites {
			if s := &c.Sites[k]; !seen[s.ID] { // cases that were one before a split share some
				seen[s.ID] = true
				list = append(list, sites.Use{Site: s, Case: c.Name})
			}
		}
	}
	return list
}

// Bisect looks for the one application of a rule that makes a program wrong: it applies
// prefixes of the plan's applications, half of those that are left at a time, and asks of
// each program whether it is wrong. The whole plan is, and without any application the
// program is not.
func (h *Host) Bisect(ctx context.Context, p *graph.Program, cfg *rewrite.Config, res *rewrite.Result, wrong func(*graph.Program) (bool, error)) (*Culprit, error) {
	list := Sites(res)
	c := &Culprit{Of: len(list)}
	right, bad := 0, len(list) // so many applications
	for bad-right > 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := (right + bad) / 2
		prefix, err := applied(p, cfg, list[:n])
		if err != nil {
			return nil, err
		}
		is, err := wrong(prefix)
		if err != nil {
			return nil, err
		}
		c.Tried++
		if is {
			bad = n
		} else {
			right = n
		}
	}
	if bad == 0 {
		return nil, fmt.Errorf("no rule was applied")
	}
	c.Index, c.Use = bad-1, list[bad-1]
	return c, nil
}

// applied rewrites a program by some of a plan's applications.
func applied(p *graph.Program, cfg *rewrite.Config, list []sites.Use) (*graph.Program, error) {
	keep := map[rewrite.SiteID]bool{}
	for _, u := range list {
		keep[u.ID] = true
	}
	only := *cfg
	only.Keep = func(id rewrite.SiteID) bool { return keep[id] }
	res, err := rewrite.Run(p, &only)
	if err != nil {
		return nil, err
	}
	return res.Program, nil
}

// Look runs the unrewritten program along a prompt and the tokens it made, and at each call
// that takes the culprit's case gives the culprit's inputs to both of its graphs, until
// they differ by more than the rule allows.
func (h *Host) Look(ctx context.Context, p *graph.Program, res *rewrite.Result, c *Culprit, prompt, tokens []int, o decode.Options) error {
	pair, err := c.Use.Pair(true)
	if err != nil {
		return err
	}
	probe, named, err := h.probe(ctx, p, &c.Use, pair)
	if err != nil {
		return err
	}
	defer probe.Close()
	plain, err := h.Catalog.Expand(p, h.Keeps)
	if err != nil {
		return err
	}
	whole, err := h.Engine.Load(ctx, plain, h.Weights)
	if err != nil {
		return err
	}
	defer whole.Close()
	caches, err := cache.New(h.Engine, plain, 1)
	if err != nil {
		return err
	}
	defer caches.Reset()
	check := &sites.Checker{Engine: h.Engine, Catalog: h.Catalog, Keeps: h.Keeps, Program: res.Program, Weights: h.Weights}
	visited := 0
	for i, ids := range chunks(prompt, tokens, o.PrefillStep) {
		if err := ctx.Err(); err != nil {
			return err
		}
		env := map[string]int64{graph.SymBatch: 1, graph.SymSeqLen: int64(len(ids)), graph.SymKVLen: int64(caches.Offset() + len(ids))}
		in, err := h.tokens(ids)
		if err != nil {
			return err
		}
		cs, err := res.Program.Select(env)
		if err != nil {
			return err
		}
		here := cs.Name == c.Use.Case
		session := whole
		if here {
			session = probe
			visited++
		}
		at := caches.Offset()
		out, err := caches.Step(ctx, session, engine.Take(in), len(ids))
		if err != nil {
			return err
		}
		seen := map[string]engine.Tensor{}
		if here {
			for leaf, name := range named {
				seen[leaf] = out[name]
			}
		}
		var diff *sites.Difference
		if here {
			diff, err = check.Difference(ctx, &c.Use, seen, map[string]int{cache.Offset: at}, env)
		}
		if err == nil && diff == nil {
			err = h.Engine.Eval(ctx, caches.Tensors()...)
		}
		for _, t := range out {
			t.Release()
		}
		if err != nil {
			return err
		}
		if diff != nil {
			c.First = &First{Call: i, Value: diff.Result, Difference: diff}
			return nil
		}
	}
	if visited == 0 {
		c.Why = "no call of the prompt takes its case"
	} else {
		c.Why = fmt.Sprintf("in %d calls none of its values differs by more than its contract, %s, allows", visited, c.Use.Rule.Numerics)
	}
	return nil
}

// chunks are the calls that a generation makes: the prompt but its last token in chunks,
// and then one token a call.
func chunks(prompt, tokens []int, step int) [][]int {
	if step <= 0 {
		step = decode.PrefillStep
	}
	var list [][]int
	rest := prompt[:len(prompt)-1]
	for len(rest) > 0 {
		n := min(step, len(rest))
		list, rest = append(list, rest[:n]), rest[n:]
	}
	for _, id := range slices.Concat(prompt[len(prompt)-1:], tokens) {
		list = append(list, []int{id})
	}
	return list
}

func (h *Host) tokens(ids []int) (engine.Tensor, error) {
	var data []byte
	for _, id := range ids {
		data = binary.LittleEndian.AppendUint32(data, uint32(id))
	}
	return h.Engine.NewTensor(graph.Int32, []int{1, len(ids)}, data)
}

// probe loads the graph that the culprit was found in, with its inputs as further results.
// named are their names, by those of the pair's leaves.
func (h *Host) probe(ctx context.Context, p *graph.Program, u *sites.Use, pair *rewrite.Pair) (engine.Session, map[string]string, error) {
	g := u.Graph().Clone()
	named := map[string]string{}
	for i, l := range pair.Leaves {
		if l.Param == "" && g.Def(l.Value).Op.Name != "input" {
			named[l.Name] = fmt.Sprintf("probe.%d", i)
			g.Output(named[l.Name], l.Value)
		}
	}
	prog, err := engine.Program(g)
	if err != nil {
		return nil, nil, err
	}
	prog.Window = p.Window
	if prog, err = h.Catalog.Expand(prog, h.Keeps); err != nil {
		return nil, nil, err
	}
	s, err := h.Engine.Load(ctx, prog, h.Weights)
	return s, named, err
}
