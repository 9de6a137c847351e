package proof

import (
	"slices"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rewrite"
)

// codesOf are the codes that name a mutation of a kind.
var codesOf = map[string][]string{
	mutAttr:     {matcher.CodeAttr},
	mutConstant: {matcher.CodeLiteral, matcher.CodeOp},
	mutSwap:     {matcher.CodeOp, matcher.CodeBound, matcher.CodeLiteral, matcher.CodeAbsent, matcher.CodePresent, matcher.CodeDistinct},
	mutSplit:    {matcher.CodeBound, matcher.CodeOp, matcher.CodeLiteral, matcher.CodeNoReader},
	mutOptional: {matcher.CodeAbsent, matcher.CodePresent, matcher.CodeOperands},
	mutReader:   {matcher.CodeEscape},
	mutOutput:   {matcher.CodeEscapeOutput},
	mutOp:       {matcher.CodeOp, matcher.CodeNoReader},
}

// TestNearMissNamesTheChange asks for an explanation of each mutant that a few rules are
// not applied to: it must have a code of what was changed, and for an attribute and an
// inner value that is used outside, the line where it is.
func TestNearMissNamesTheChange(t *testing.T) {
	set := shipped(t)
	all := instances(t, set)
	asked, named := map[string]int{}, map[string]int{}
	for _, name := range []string{"llama.gate_up_swiglu", "llama.qk_rope", "qwen3.router_softmax_topk", "qwen3.moe_down_combine", "gemma.norm_qkv", "mla.decode", "lfm2.short_conv"} {
		in := all[name].All[0]
		g := in.Program.Cases[0].Graph
		lines := map[graph.NodeID]string{}
		in.Pattern.Find(matcher.NewIndex(g), func(m *matcher.Match) {
			for i, id := range m.Nodes {
				lines[id] = m.Pattern.Line(i)
			}
		})
		for _, x := range in.mutations() {
			codes := codesOf[x.kind]
			p, err := in.mutant(x)
			if codes == nil || err != nil {
				continue
			}
			res, err := rewriteBy(set, in.Rule, p, "cuda")
			if err != nil {
				t.Fatal(err)
			}
			if sites(res) > 0 {
				continue
			}
			asked[x.kind]++
			var got []string
			for _, c := range res.Cases {
				for _, r := range c.Refusals(in.Rule) {
					got = append(got, r.Code+" "+r.Line())
					if slices.Contains(codes, r.Code) && (x.kind != mutAttr || r.Line() == lines[x.at]) || beyond(r) {
						named[x.kind]++
						got = nil
						break
					}
				}
			}
			if got != nil {
				t.Errorf("%s; %s at %q: %v", name, x.what, lines[x.at], got)
			}
		}
	}
	for _, kind := range sortedKeys(asked) {
		t.Logf("%s: %d of %d", kind, named[kind], asked[kind])
		if 100*named[kind] < 95*asked[kind] { // of a small pattern with another op nothing may be left
			t.Errorf("%s: of %d changes only %d are named", kind, asked[kind], named[kind])
		}
	}
}

// beyond reports whether the whole pattern matched, and a domain or a type kept it off.
func beyond(r *rewrite.Refusal) bool { return r.Matched == r.Of && r.Of > 0 }
