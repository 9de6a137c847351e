package proof

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// Codes of what is said of rules together. The first three are lints.
const (
	CodeDuplicate   = "rule-duplicate"    // two rules do the same in the same places
	CodeShadowed    = "rule-shadowed"     // another rule always comes first
	CodeUndone      = "rule-undoing"      // one rule matches what another made, and only its launches keep it off
	CodeUndoing     = "proof/undoing"     // one rule makes what another made again
	CodeTermination = "proof/termination" // a rewrite saves nothing, or does not end
	CodeRuleOrder   = "proof/rule-order"  // the plan depends on the order of rules that do not compete
	CodeNodeOrder   = "proof/node-order"  // the plan depends on the order of nodes
	CodeNumerics    = "proof/numerics"    // together, rules are worse than was stated
)

// Together is rules that are used together: those of a profile that are on for a target,
// in its order, with the models that they are for.
type Together struct {
	Name   string // "qwen3, cuda"
	Target string
	Rules  []*rules.Rule
	Models []*Model
	// Numerics is the class that the plan of any model must keep, "" if none is stated.
	Numerics kernels.Numerics
}

// Between looks at rules that are used together. all has instances by the names of rules;
// a rule that has none there is looked at on the models only.
//
//   - A rule is shadowed if at each of its instances another rule of the same size comes
//     first, and a duplicate if both make the same there and at the other's instances.
//   - No rule makes of the replacement of another what that one began with; each rewrite
//     starts fewer of MLX's own launches than before, or as many and fewer in all, and not
//     more than its rule says; and each rewriting ends because nothing matches any more.
//   - Where rules compete for nodes, the larger match wins; among matches of one size, the
//     rule that comes first. Only such pairs may change a plan by their order, and they are
//     listed. Any other order of the rules, and any order of the nodes, gives the same plan.
//   - What rules promise of numbers is composed for each model.
func Between(ctx context.Context, set *rules.Set, f *Together, all map[string]*Instances) []*Verdict {
	b := &between{set: set, f: f, all: all}
	checks := []func() *Verdict{b.shadows, b.undoing, b.competition, b.ruleOrder, b.nodeOrder, b.numerics}
	var out []*Verdict
	for _, m := range f.Models {
		res, err := b.rewrite(f.Rules, m.Program)
		if err != nil {
			return []*Verdict{{Check: CheckRules, Status: Failed, Code: CodeBroken, Detail: fmt.Sprintf("%s: rewriting %s fails: %v", f.Name, m.Name, err)}}
		}
		b.plans = append(b.plans, res)
	}
	for _, check := range checks {
		if ctx.Err() != nil {
			break
		}
		v := check()
		v.Check, v.Detail = CheckRules, f.Name+": "+v.Detail
		out = append(out, v)
	}
	return out
}

type between struct {
	set   *rules.Set
	f     *Together
	all   map[string]*Instances
	plans []*rewrite.Result // by model

	compete []*rivals
}

func (b *between) rewrite(list []*rules.Rule, p *graph.Program) (*rewrite.Result, error) {
	return rewrite.Run(p, &rewrite.Config{Set: b.set, Rules: list, Setting: guard.Setting{Target: b.f.Target, TPSize: 1}})
}

// instances are those of a rule to which it applies on the target.
func (b *between) instances(r *rules.Rule) []*Instance {
	var out []*Instance
	if all := b.all[r.Name]; all != nil {
		for _, in := range all.All {
			if res, err := b.rewrite([]*rules.Rule{r}, in.Program); err == nil && sites(res) > 0 {
				out = append(out, in)
			}
		}
	}
	return out
}

// count counts where a rule was applied.
func count(res *rewrite.Result, r *rules.Rule) int {
	n := 0
	for _, c := range res.Cases {
		n += c.Matches(r.Name)
	}
	return n
}

func (b *between) shadows() *Verdict {
	v := &Verdict{Status: Tested, Method: "shadowed and duplicate"}
	for i, r := range b.f.Rules {
		own := b.instances(r)
		if len(own) == 0 {
			continue
		}
		for _, first := range b.f.Rules[:i] {
			v.Count++
			if !b.always(first, r, own) {
				continue
			}
			others := b.instances(first)
			code, what := CodeShadowed, "is never applied: at each of its %d instances %s comes first"
			if b.always(r, first, others) && b.alike(first, r, append(own, others...)) {
				code, what = CodeDuplicate, "does at each of its %d instances what %s does"
			}
			if v.Code == "" || code == CodeDuplicate {
				v.Code = code
			}
			v.Why = append(v.Why, r.Name+" "+fmt.Sprintf(what, len(own), first.Name))
		}
	}
	v.Detail = fmt.Sprintf("none of %d rules is shadowed by one before it, or does the same", len(b.f.Rules))
	if len(v.Why) > 0 {
		v.Detail = strings.Join(v.Why, "; ")
	}
	return v
}

// always reports whether a rule that comes first takes all instances of another.
func (b *between) always(first, r *rules.Rule, instances []*Instance) bool {
	for _, in := range instances {
		res, err := b.rewrite([]*rules.Rule{first, r}, in.Program)
		if err != nil || count(res, r) > 0 || count(res, first) == 0 {
			return false
		}
	}
	return len(instances) > 0
}

// alike reports whether two rules make the same of instances.
func (b *between) alike(r, s *rules.Rule, instances []*Instance) bool {
	for _, in := range instances {
		x, errX := b.rewrite([]*rules.Rule{r}, in.Program)
		y, errY := b.rewrite([]*rules.Rule{s}, in.Program)
		if errX != nil || errY != nil || x.Program.Hash() != y.Program.Hash() {
			return false
		}
	}
	return true
}

// undoing rewrites what each rule makes of its instances by each rule, and looks at the
// measure that falls with each rewrite.
func (b *between) undoing() *Verdict {
	v := &Verdict{Status: Tested, Method: "undoing and termination"}
	fail := func(code, format string, args ...any) {
		if !v.Failed() {
			v.Status, v.Code, v.Why = Failed, code, nil
		}
		v.Why = append(v.Why, fmt.Sprintf(format, args...))
	}
	for _, r := range b.f.Rules {
		for _, in := range b.instances(r) {
			made, err := b.rewrite([]*rules.Rule{r}, in.Program)
			if err != nil {
				continue
			}
			began := computes(in.Program.Cases[0].Graph)
			for _, s := range b.f.Rules {
				if s == r {
					continue
				}
				v.Count++
				back, err := b.rewrite([]*rules.Rule{s}, made.Program)
				if err != nil {
					fail(CodeBroken, "%s: %s behind %s: %v", in.Where, s.Name, r.Name, err)
					continue
				}
				if of := unpaid(back, s); of != "" {
					if v.Code == "" {
						v.Code = CodeUndone
					}
					v.Why = append(v.Why, fmt.Sprintf("%s would undo %s at %s, if it did not start as many launches", s.Name, r.Name, of))
				}
				if slices.Contains(results(back), began) {
					fail(CodeUndoing, "%s makes of the replacement of %s what that one began with, at %s", s.Name, r.Name, in.Where)
				}
			}
			b.falls(made, fail)
		}
	}
	for i, res := range b.plans {
		if res.Stop != rewrite.StopDone {
			fail(CodeTermination, "rewriting %s stopped: %s", b.f.Models[i].Name, res.Stop)
		}
		b.falls(res, fail)
	}
	v.Detail = fmt.Sprintf("%d times a rule behind another at its instances: none gives back what was there; products of packed matrices, or MLX's own launches among as many, or all launches, fall with each rewrite", v.Count)
	if len(v.Why) > 0 {
		v.Detail = v.Why[0]
	}
	return v
}

// unpaid returns where a rule matches but saves no launch, or "".
func unpaid(res *rewrite.Result, r *rules.Rule) string {
	for i := range res.Cases {
		for _, f := range res.Cases[i].Whole(r) {
			if f.Code == rewrite.CodeCost {
				return f.Scope
			}
		}
	}
	return ""
}

// falls holds that each rewrite lowers the cost of a graph, which is why rewriting ends.
func (b *between) falls(res *rewrite.Result, fail func(code, format string, args ...any)) {
	for _, c := range res.Cases {
		if len(c.Sites) == 0 {
			continue
		}
		was, now := c.Before.Cost(), c.After.Cost()
		more := 0
		for _, s := range c.Sites {
			more += s.Rule.More
		}
		if !now.Below(was) || now.Launches > was.Launches+more {
			fail(CodeTermination, "%s, %s: %d launches, %d of MLX's own, and %d and %d before: %s at %s saves nothing",
				res.Before.Name, c.Name, now.Launches, now.Own, was.Launches, was.Own, c.Sites[0].Rule.Name, c.Sites[0].Scope)
		}
	}
}

// rivals are two rules that compete for nodes on some model.
type rivals struct {
	winner, loser *rules.Rule
	sites         int
	larger        int // of those, where the winner's match is larger
	changes       bool
}

func (b *between) pairs(plans []*rewrite.Result) []*rivals {
	var all []*rivals
	for _, res := range plans {
		for _, c := range res.Cases {
			for _, o := range c.Overlaps() {
				k := slices.IndexFunc(all, func(p *rivals) bool { return p.winner == o.Winner && p.loser == o.Rule })
				if k < 0 {
					k = len(all)
					all = append(all, &rivals{winner: o.Winner, loser: o.Rule})
				}
				all[k].sites++
				if o.WinnerSize > o.Of {
					all[k].larger++
				}
			}
		}
	}
	return all
}

// competition lists pairs of rules that compete.
func (b *between) competition() *Verdict {
	v := &Verdict{Status: Tested, Method: "overlapping"}
	b.compete = b.pairs(b.plans)
	equal := 0
	for _, p := range b.compete {
		v.Count += p.sites
		line := fmt.Sprintf("%s before %s at %d places, by size", p.winner.Name, p.loser.Name, p.sites)
		if n := p.sites - p.larger; n > 0 {
			equal++
			p.changes = b.swapped(p)
			line = fmt.Sprintf("%s before %s at %d places, at %d by the order of rules", p.winner.Name, p.loser.Name, p.sites, n)
			if p.changes {
				line += ", which decides the plan"
			}
		}
		v.Why = append(v.Why, line)
	}
	v.Detail = fmt.Sprintf("%d pairs of rules compete for nodes on %d models, %d of them with matches of one size, where the profile's order decides", len(b.compete), len(b.f.Models), equal)
	return v
}

// swapped reports whether two rules alone give another plan in the other order.
func (b *between) swapped(p *rivals) bool {
	for _, m := range b.f.Models {
		x, errX := b.rewrite([]*rules.Rule{p.winner, p.loser}, m.Program)
		y, errY := b.rewrite([]*rules.Rule{p.loser, p.winner}, m.Program)
		if errX == nil && errY == nil && !samePlan(x, y) {
			return true
		}
	}
	return false
}

// orders is how many other orders of rules, and of nodes, are tried on each model.
const orders = 3

func (b *between) ruleOrder() *Verdict {
	v := &Verdict{Status: Tested, Method: "order of rules"}
	rnd := rand.New(rand.NewPCG(1, 2))
	declared := b.compete
	for range orders {
		list := slices.Clone(b.f.Rules)
		rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		// Rules that are found to compete keep the order that they are given in. In another
		// order others may, of which the profile's plan shows nothing.
		for {
			keepOrder(list, b.f.Rules, declared)
			plans, other := b.planAll(list)
			var more []*rivals
			for _, p := range b.pairs(plans) {
				inOrder := slices.Index(b.f.Rules, p.winner) < slices.Index(b.f.Rules, p.loser)
				known := slices.ContainsFunc(declared, func(q *rivals) bool {
					return q.winner == p.winner && q.loser == p.loser || q.winner == p.loser && q.loser == p.winner
				})
				if p.larger < p.sites && !inOrder && !known {
					more = append(more, &rivals{winner: p.loser, loser: p.winner})
				}
			}
			if len(more) > 0 && other >= 0 {
				declared = append(slices.Clone(declared), more...)
				continue
			}
			v.Count += len(b.f.Models)
			if other >= 0 {
				v.Status, v.Code = Failed, CodeRuleOrder
				v.Why = append(v.Why, fmt.Sprintf("%s has another plan with the rules in the order %s", b.f.Models[other].Name, names(list)))
			}
			break
		}
	}
	v.Detail = fmt.Sprintf("%d plans with the rules in other orders, those that compete excepted: the same", v.Count)
	if v.Failed() {
		v.Detail = v.Why[0]
	}
	return v
}

// planAll rewrites all models by rules in another order, and returns the first that has
// another plan, or -1.
func (b *between) planAll(list []*rules.Rule) (plans []*rewrite.Result, other int) {
	other = -1
	for i, m := range b.f.Models {
		res, err := b.rewrite(list, m.Program)
		if err != nil {
			return plans, i
		}
		plans = append(plans, res)
		if other < 0 && !samePlan(b.plans[i], res) {
			other = i
		}
	}
	return plans, other
}

// samePlan reports whether two results run the same graph at each call. Their cases may
// have been split in another order, and then have other conditions that say the same:
// calls around all numbers in the conditions are tried.
func samePlan(x, y *rewrite.Result) bool {
	if x.Program.Hash() == y.Program.Hash() {
		return true
	}
	var texts, symbols []string
	hashes := map[*graph.Graph]graph.Hash{}
	for _, res := range []*rewrite.Result{x, y} {
		for _, c := range res.Cases {
			texts = append(texts, c.When.String())
			symbols = c.When.Symbols(symbols)
			hashes[c.After] = computes(c.After)
		}
	}
	for _, p := range grid(symbols, edges(texts...)) {
		a, errA := x.Program.Select(p)
		b, errB := y.Program.Select(p)
		if (errA == nil) != (errB == nil) || errA == nil && hashes[a.Graph] != hashes[b.Graph] {
			return false
		}
	}
	return true
}

// keepOrder moves rules of which one must come before the other, and nothing else.
func keepOrder(list, as []*rules.Rule, pairs []*rivals) {
	for moved := true; moved; {
		moved = false
		for _, p := range pairs {
			first, second := p.winner, p.loser
			if slices.Index(as, first) > slices.Index(as, second) {
				first, second = second, first // the larger match won
			}
			i, j := slices.Index(list, first), slices.Index(list, second)
			if i > j {
				list = slices.Insert(slices.Delete(list, i, i+1), j, first)
				moved = true
			}
		}
	}
}

func names(list []*rules.Rule) string {
	var all []string
	for _, r := range list {
		all = append(all, r.Name)
	}
	return strings.Join(all, ", ")
}

func (b *between) nodeOrder() *Verdict {
	v := &Verdict{Status: Tested, Method: "order of nodes"}
	rnd := rand.New(rand.NewPCG(3, 4))
	for i, m := range b.f.Models {
		for range orders {
			p, err := shuffled(m.Program, rnd)
			if err != nil {
				v.Status, v.Detail = Unchecked, fmt.Sprintf("%s: %v", m.Name, err)
				return v
			}
			v.Count++
			res, err := b.rewrite(b.f.Rules, p)
			if err != nil || res.Program.Hash() != b.plans[i].Program.Hash() {
				v.Status, v.Code = Failed, CodeNodeOrder
				v.Detail = fmt.Sprintf("%s has another plan with its nodes in another order", m.Name)
				return v
			}
		}
	}
	v.Detail = fmt.Sprintf("%d plans with the nodes in other orders: the same", v.Count)
	return v
}

// shuffled returns a program with the nodes of its graphs in another order.
func shuffled(p *graph.Program, rnd *rand.Rand) (*graph.Program, error) {
	out := *p
	out.Cases = slices.Clone(p.Cases)
	for i := range out.Cases {
		g, err := shuffledGraph(out.Cases[i].Graph, rnd)
		if err != nil {
			return nil, err
		}
		out.Cases[i].Graph = g
	}
	if out.Hash() != p.Hash() {
		return nil, fmt.Errorf("the order of nodes changes the program")
	}
	return &out, nil
}

func shuffledGraph(g *graph.Graph, rnd *rand.Rand) (*graph.Graph, error) {
	to, now := graph.New(), make([]graph.ValueID, g.NumValues())
	for _, v := range g.Inputs() {
		now[v] = to.Input(g.InputName(v), g.Type(v))
	}
	waits := make([]int, g.NumNodes()) // for so many operands
	var ready []graph.NodeID
	uses := g.Uses()
	for id := range graph.NodeID(g.NumNodes()) {
		n := g.Node(id)
		if n.Op.Name == "input" {
			continue
		}
		for _, v := range n.In {
			if v != graph.None && g.Def(v).Op.Name != "input" {
				waits[id]++
			}
		}
		if waits[id] == 0 {
			ready = append(ready, id)
		}
	}
	for len(ready) > 0 {
		k := rnd.IntN(len(ready))
		id := ready[k]
		ready[k] = ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		n := g.Node(id)
		switch n.Op.Name {
		case "param":
			now[n.Out[0]] = to.Param(g.InputName(n.Out[0]), g.Type(n.Out[0]))
		case "constant":
			now[n.Out[0]] = to.Constant(g.Literal(n.Out[0]))
		default:
			in := make([]graph.ValueID, len(n.In))
			for i, v := range n.In {
				if in[i] = v; v != graph.None {
					in[i] = now[v]
				}
			}
			out, err := to.Add(n.Op, n.Scope, in, n.Attrs...)
			if err != nil {
				return nil, err
			}
			for i, v := range n.Out {
				now[v] = out[i]
			}
		}
		for _, v := range n.Out {
			for _, user := range slices.Compact(slices.Clone(uses.Of(v))) {
				for _, x := range g.Node(user).In {
					if x == v {
						waits[user]--
					}
				}
				if waits[user] == 0 {
					ready = append(ready, user)
				}
			}
		}
	}
	for _, o := range g.Outputs() {
		to.Output(o.Name, now[o.Value])
	}
	return to, nil
}

func (b *between) numerics() *Verdict {
	v := &Verdict{Status: Tested, Method: "composition of numerics"}
	worst, by := kernels.Exact, map[string]bool{}
	for i, res := range b.plans {
		v.Count += len(res.Cases)
		for k := range res.Cases {
			c := &res.Cases[k]
			if n := c.Numerics(); n.WorseThan(worst) {
				worst = n
			}
			for _, s := range c.Sites {
				if s.Rule.Numerics.WorseThan(kernels.Exact) {
					by[s.Rule.Name] = true
				}
			}
			if b.f.Numerics != "" && c.Numerics().WorseThan(b.f.Numerics) {
				v.Status, v.Code = Failed, CodeNumerics
				v.Why = append(v.Why, fmt.Sprintf("%s, %s is %s, and %s was stated", b.f.Models[i].Name, c.Name, c.Numerics(), b.f.Numerics))
			}
		}
	}
	v.Detail = fmt.Sprintf("all plans together are %s, for %d rules that were applied and are not exact", worst, len(by))
	if v.Failed() {
		v.Detail = v.Why[0]
	}
	return v
}
