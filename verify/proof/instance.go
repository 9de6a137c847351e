package proof

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// Instance is a rule's pattern as a program of its own: what the pattern's names stand for
// are its inputs and parameters, the rule's results its outputs, and there is nothing
// else. It has the names and the $variables of one place in a model, with its lengths:
// symbols where the model has symbols.
type Instance struct {
	Rule    *rules.Rule
	Pattern *matcher.Pattern
	// Where is the place that the instance was taken from: "qwen3_moe-f32-4bit, decode,
	// model.layers.0.mlp"; what was changed there comes behind it.
	Where   string
	Sample  *matcher.Sample
	When    graph.Cond // when the case of the model applies
	Program *graph.Program
}

// newInstance renders a pattern. The program has an input "tokens" [batch, seq_len] that
// nothing reads, which is where guards learn of batch and seq_len.
func newInstance(p *matcher.Pattern, s *matcher.Sample, when graph.Cond, where string, params []*graph.Param) (*Instance, error) {
	g, err := p.Render(s)
	if err != nil {
		return nil, err
	}
	if _, taken := s.Types["tokens"]; !taken {
		g.Input("tokens", graph.Type{DType: graph.Int32, Shape: []graph.Dim{graph.Sym(graph.SymBatch), graph.Sym(graph.SymSeqLen)}})
	}
	if err := g.Compact(); err != nil {
		return nil, err
	}
	in := &Instance{Rule: p.Rule, Pattern: p, Where: where, Sample: s, When: when}
	in.Program = &graph.Program{Name: "pattern", Params: params, Cases: []graph.Case{{Name: "pattern", When: when, Graph: g}}}
	return in, in.Program.Verify()
}

// Rewrite rewrites the instance by its rule alone, wherever its guards allow it on a
// target.
func (in *Instance) Rewrite(set *rules.Set, target string) (*rewrite.Result, error) {
	return rewriteBy(set, in.Rule, in.Program, target)
}

func rewriteBy(set *rules.Set, r *rules.Rule, p *graph.Program, target string) (*rewrite.Result, error) {
	return rewrite.Run(p, &rewrite.Config{Set: set, Rules: []*rules.Rule{r}, Setting: guard.Setting{Target: target, TPSize: 1}})
}

// Sites returns how often a rule was applied, in the case where it was applied most.
func sites(res *rewrite.Result) int {
	n := 0
	for _, c := range res.Cases {
		n = max(n, len(c.Sites))
	}
	return n
}

// Targets are where kernels run.
var Targets = []string{"cuda", "metal", "cpu"}

// Instances are those of one rule.
type Instances struct {
	Rule     *rules.Rule
	Patterns []*matcher.Pattern
	// All has at least one for each pattern, but for those that are in Unseen. The first of
	// a pattern comes from a model as it is, if one has it.
	All    []*Instance
	Unseen []*Unseen
}

// Unseen is a pattern of which no instance is known.
type Unseen struct {
	Pattern *matcher.Pattern
	Reason  error
	// Code says why: that of the refusal where the pattern matched (replace/type), or of the
	// nearest miss (match/escape).
	Code string
}

// Corpus is the graphs that instances are taken from.
type Corpus struct {
	places []place
}

// place is one case of a model, ready to be searched.
type place struct {
	model *Model
	when  graph.Cond // that the case applies, and none before it
	name  string
	index *matcher.Index
}

// NewCorpus makes models ready to be searched.
func NewCorpus(all []*Model) *Corpus {
	c := &Corpus{}
	for _, m := range all {
		earlier := graph.True
		for _, k := range m.Program.Cases {
			c.places = append(c.places, place{m, graph.And(k.When, earlier.Given(k.When)), k.Name, matcher.NewIndex(k.Graph)})
			earlier = graph.And(earlier, graph.Not(k.When))
		}
	}
	return c
}

// perPattern bounds the instances of one pattern: those that differ most come first.
const perPattern = 8

// Instances collects instances of a rule's patterns: a few places of the corpus for each
// pattern, with all element types, quantizations and $variables that occur, and, of those
// patterns that occur nowhere, what another pattern's names stand for.
func (c *Corpus) Instances(set *rules.Set, r *rules.Rule) (*Instances, error) {
	patterns, err := matcher.Compile(set, r)
	if err != nil {
		return nil, err
	}
	out := &Instances{Rule: r, Patterns: patterns}
	var rest []*matcher.Pattern
	noes := map[*matcher.Pattern]*refused{}
	for _, p := range patterns {
		found, no := c.find(set, p)
		if out.All = append(out.All, found...); len(found) == 0 {
			rest = append(rest, p)
			noes[p] = no
		}
	}
	seen := slices.Clone(out.All)
	for _, p := range rest {
		in, err := borrow(set, p, seen)
		if err != nil {
			u := &Unseen{Pattern: p, Reason: err}
			if no := noes[p]; no != nil {
				u.Code, u.Reason = no.code, no
			} else {
				u.Code = c.nearest(p)
			}
			out.Unseen = append(out.Unseen, u)
			continue
		}
		out.All = append(out.All, in)
	}
	return out, nil
}

// find returns instances of a pattern that the rule applies to, and, where there is none,
// why the rule did not apply to the first place that has the pattern. A place is taken if it
// is new in something that a rule may depend on (features).
func (c *Corpus) find(set *rules.Set, p *matcher.Pattern) ([]*Instance, *refused) {
	var found []*Instance
	var no *refused
	seen, shapes := map[string]bool{}, map[string]bool{}
	for _, at := range c.places {
		g := at.index.Graph
		p.Find(at.index, func(m *matcher.Match) {
			if len(found) >= perPattern {
				return
			}
			key := string(m.AppendShape(g, []byte(at.when.String())))
			if shapes[key] {
				return
			}
			shapes[key] = true
			s := m.Sample(g)
			features := append(featuresOf(s), "when "+at.name)
			if !slices.ContainsFunc(features, func(f string) bool { return !seen[f] }) {
				return
			}
			scope := g.Def(m.Result(g, 0)).Scope
			in, err := newInstance(p, s, at.when, fmt.Sprintf("%s, %s, %s", at.model.Name, at.name, scope), paramsOf(at.model.Program, g, m, s))
			if err != nil {
				return
			}
			if r := in.refusal(set); r != nil {
				if no == nil || no.guarded() && !r.guarded() {
					no = r
				}
				return
			}
			for _, f := range features {
				seen[f] = true
			}
			found = append(found, in)
		})
	}
	return found, no
}

// refused is why a rule does not apply to an instance of a pattern of its own.
type refused struct {
	code, text string
	matched    int
}

func (r *refused) Error() string { return r.text }

// guarded reports whether it was a guard: what else there is says more.
func (r *refused) guarded() bool { return r.code == rewrite.CodeGuard || r.code == rewrite.CodeUnknown }

// refusal says why a rule does not apply to the instance on any target; it is nil if it
// does on one.
func (in *Instance) refusal(set *rules.Set) *refused {
	no := &refused{code: rewrite.CodeBuild, text: in.Where + ": the rule does not apply", matched: -1}
	for _, target := range Targets {
		res, err := in.Rewrite(set, target)
		if err != nil {
			continue
		}
		if sites(res) > 0 {
			return nil
		}
		for i := range res.Cases {
			for _, r := range res.Cases[i].Refusals(in.Rule) {
				if r.Matched <= no.matched {
					continue
				}
				expected, observed := r.Detail()
				what := r.Code
				if r.Guard != "" {
					what += " of " + r.Guard
				}
				no = &refused{r.Code, fmt.Sprintf("the pattern is at %s, where the rule does not apply: %s, expected %s, observed %s", in.Where, what, expected, observed), r.Matched}
			}
		}
	}
	return no
}

// nearest is the code of the near miss of a pattern that got furthest in the corpus.
func (c *Corpus) nearest(p *matcher.Pattern) string {
	var best *matcher.Miss
	for _, at := range c.places {
		p.Explain(at.index, func(*matcher.Match) {}, func(m *matcher.Miss) {
			if best == nil || m.Better(best) {
				best = m.Clone()
			}
		})
	}
	if best == nil {
		return matcher.CodeOp
	}
	return best.Code
}

// applies reports whether the rule applies to the instance on some target.
func (in *Instance) applies(set *rules.Set) bool {
	return in.refusal(set) == nil
}

// featuresOf lists what instances of a pattern differ in that matters most: element types
// together, each name's rank and whether it is there, a parameter, or turned by another
// type; words; small numbers; numbers that are nothing special for one rule and everything for
// another, such as a scale of 1 or as many dims as a head has.
func featuresOf(s *matcher.Sample) []string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	var kinds strings.Builder
	for _, name := range sortedKeys(s.Types) {
		t := s.Types[name]
		fmt.Fprintf(&kinds, "%s %s %d %t;", name, t.DType, t.Rank(), s.Params[name])
	}
	add("%s", kinds.String())
	for _, name := range sortedKeys(s.Vars) {
		switch x := s.Vars[name].(type) {
		case graph.Dim:
			if name == "bits" || name == "gs" || name == "group_size" || name == "k" {
				add("%s=%s", name, x)
			}
			for _, of := range sortedKeys(s.Types) {
				if d, ok := s.Types[of].Dim(-1); ok && s.Types[of].DType.IsFloat() {
					add("%s is dim(%s, -1): %t", name, of, d == x)
				}
			}
		case graph.Float:
			add("%s is 1: %t", name, float64(x) == 1)
			add("%s is 0: %t", name, float64(x) == 0)
		case *graph.Literal:
			add("%s %s", name, x.DType)
		default:
			add("%s=%T", name, x)
			if _, word := x.(graph.Str); word {
				add("%s=%s", name, x)
			}
		}
	}
	return list
}

// paramsOf returns the parameters of a program that an instance reads, under the names of
// the pattern.
func paramsOf(p *graph.Program, g *graph.Graph, m *matcher.Match, s *matcher.Sample) []*graph.Param {
	var all []*graph.Param
	quants := map[*graph.Quant]*graph.Quant{}
	for _, name := range sortedKeys(s.Params) {
		v, _ := m.Value(g, name)
		q := *p.Param(g.InputName(v))
		q.Name, q.From = name, nil // as if it had been read
		if q.Quant != nil {
			if quants[q.Quant] == nil {
				c := *q.Quant
				quants[q.Quant] = &c
			}
			q.Quant = quants[q.Quant]
		}
		all = append(all, &q)
	}
	return all
}

// borrow makes an instance of a pattern that no model has, from what the names of the
// rule's other patterns stand for.
func borrow(set *rules.Set, p *matcher.Pattern, seen []*Instance) (*Instance, error) {
	why := fmt.Errorf("no model has the rule's pattern")
	for _, like := range seen {
		for _, change := range changes {
			s := change.of(like.Sample)
			in, err := newInstance(p, s, like.When, like.Where+change.what, retype(like.Program.Params, s))
			if err != nil {
				why = err
				continue
			}
			if in.applies(set) {
				return in, nil
			}
			why = fmt.Errorf("the rule does not apply to %s", in.Where)
		}
	}
	return nil, why
}

// changes are ways of making another sample of one.
var changes = []struct {
	what string
	of   func(*matcher.Sample) *matcher.Sample
}{
	{", float16", func(s *matcher.Sample) *matcher.Sample { return withFloats(s, graph.Float16) }},
	{", bfloat16", func(s *matcher.Sample) *matcher.Sample { return withFloats(s, graph.BFloat16) }},
	{", float32", func(s *matcher.Sample) *matcher.Sample { return withFloats(s, graph.Float32) }},
}

// withFloats gives all floating-point values one element type, but for those that a
// pattern keeps in float32.
func withFloats(s *matcher.Sample, t graph.DType) *matcher.Sample {
	c := *s
	c.Types = map[string]graph.Type{}
	for name, x := range s.Types {
		if x.DType.IsFloat() && s.Literals[name] == nil {
			x.DType = t
		}
		c.Types[name] = x
	}
	return &c
}

func retype(params []*graph.Param, s *matcher.Sample) []*graph.Param {
	var all []*graph.Param
	for _, q := range params {
		if t, ok := s.Types[q.Name]; ok && s.Params[q.Name] {
			c := *q
			c.Type = t
			all = append(all, &c)
		}
	}
	return all
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
