package rewrite

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/rules"
)

// line is a line of a random graph. Operands count back from the line, so that the same
// lines can be written again further down.
type line struct {
	kind, a, b, k int
	flag          bool
}

func randomLine(r *rand.Rand) line {
	back := func() int { return min(r.IntN(8), r.IntN(8)) }
	return line{r.IntN(12), back(), back(), 1 + r.IntN(2), r.IntN(2) == 0}
}

// randomGraph makes the text of a graph over few ops and shapes: a block of lines, again
// and again, each time with a change or two, so that a pattern from one place nearly fits
// in the others.
func randomGraph(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("zmlx 1\nprogram random\ncase all\n")
	names := []string{"x", "y", "z"}
	for _, name := range names {
		fmt.Fprintf(&b, "  input %s : float32[3, 3]\n", name)
	}
	b.WriteString("  c1 = constant(1) : float32[]\n  c2 = constant(0.5) : float32[]\n")
	block := make([]line, 4+r.IntN(5))
	for i := range block {
		block[i] = randomLine(r)
	}
	for range 2 + r.IntN(4) {
		changed := -1
		if r.IntN(3) > 0 {
			changed = r.IntN(len(block))
		}
		for i, s := range block {
			if i == changed {
				switch other := randomLine(r); r.IntN(6) {
				case 0:
					s = other
				case 1:
					s.a, s.b = s.b, s.a
				case 2:
					s.a = other.a
				case 3:
					s.b = other.b
				case 4:
					s.k = 3 - s.k
				case 5:
					s.flag = !s.flag
				}
			}
			name := fmt.Sprintf("v%d", len(names))
			from, and := names[max(0, len(names)-1-s.a)], names[max(0, len(names)-1-s.b)]
			switch s.kind {
			case 0:
				fmt.Fprintf(&b, "  %s = negative(%s) : float32[3, 3]\n", name, from)
			case 1:
				fmt.Fprintf(&b, "  %s = sigmoid(%s) : float32[3, 3]\n", name, from)
			case 2, 3:
				fmt.Fprintf(&b, "  %s = multiply(%s, %s) : float32[3, 3]\n", name, from, and)
			case 4:
				fmt.Fprintf(&b, "  %s = subtract(%s, %s) : float32[3, 3]\n", name, from, and)
			case 5:
				fmt.Fprintf(&b, "  %s = add(c%d, %s) : float32[3, 3]\n", name, s.k, from)
			case 6:
				fmt.Fprintf(&b, "  %s = multiply(%s, c%d) : float32[3, 3]\n", name, from, s.k)
			case 7:
				fmt.Fprintf(&b, "  %s = softmax(%s, precise=%t) : float32[3, 3]\n", name, from, s.flag)
			case 8:
				fmt.Fprintf(&b, "  %s = cumsum(%s, axis=%d, reverse=%t) : float32[3, 3]\n", name, from, -s.k, s.flag)
			case 9: // two slices, made whole again
				fmt.Fprintf(&b, "  %sa = slice(%s, axis=-1, start=%d) : float32[3, %d]\n", name, from, s.k, 3-s.k)
				fmt.Fprintf(&b, "  %sb = slice(%s, axis=-1, stop=%d) : float32[3, %d]\n", name, and, s.k, s.k)
				fmt.Fprintf(&b, "  %s = concatenate(%sa, %sb, axis=-1) : float32[3, 3]\n", name, name, name)
			case 10: // of two zeros, each takes another
				fmt.Fprintf(&b, "  %s = maximum(%s, %s) : float32[3, 3]\n", name, from, and)
			case 11:
				fmt.Fprintf(&b, "  %s = minimum(%s, %s) : float32[3, 3]\n", name, from, and)
			}
			names = append(names, name)
		}
	}
	for i := range 1 + r.IntN(4) {
		fmt.Fprintf(&b, "  output o%d = %s\n", i, names[len(names)-1-i])
	}
	return b.String()
}

// randomRule cuts a pattern out of a graph: a few nodes that hang together become a
// rule and the kernel that it calls, whose reference is the pattern again. Whatever
// the rule matches then, the rewritten graph must give the same bits. Attributes and
// constants become $variables at random. fits says that the rule must apply somewhere
// in the graph that it was cut out of.
func randomRule(r *rand.Rand, g *graph.Graph, name string) (rule, spec string, fits bool) {
	uses := g.Uses()
	var ops []graph.NodeID
	for id := range graph.NodeID(g.NumNodes()) {
		if len(g.Node(id).In) > 0 {
			ops = append(ops, id)
		}
	}
	chosen := []graph.NodeID{ops[r.IntN(len(ops))]}
	for range 1 + r.IntN(6) { // a neighbour of what is there: made for it, reading it, or beside it
		n := g.Node(chosen[r.IntN(len(chosen))])
		var next graph.NodeID
		if v := n.In[r.IntN(len(n.In))]; r.IntN(2) == 0 {
			next = g.Value(v).Def
		} else {
			if r.IntN(2) == 0 {
				v = n.Out[0]
			}
			if next = chosen[0]; len(uses.Of(v)) > 0 && g.Literal(v) == nil {
				next = uses.Of(v)[r.IntN(len(uses.Of(v)))]
			}
		}
		if len(g.Node(next).In) > 0 && !slices.Contains(chosen, next) {
			chosen = append(chosen, next)
		}
	}
	slices.Sort(chosen)
	launches, behind := 0, map[graph.NodeID]bool{} // what reads a chosen node, and is none
	fits = true
	for id := range graph.NodeID(g.NumNodes()) {
		reads, back := false, false
		for _, v := range g.Node(id).In {
			reads = reads || slices.Contains(chosen, g.Value(v).Def)
			back = back || behind[g.Value(v).Def]
		}
		if slices.Contains(chosen, id) {
			fits = fits && !back
			launches += g.Node(id).Op.Launches
		} else if reads || back {
			behind[id] = true
		}
	}
	fits = fits && launches > 1
	lines := map[graph.ValueID]string{}
	for i, id := range chosen {
		lines[g.Node(id).Out[0]] = fmt.Sprintf("l%d", i)
	}
	var match, reference, operands, inputs, results, attrs, passed, guards []string
	operand := map[graph.ValueID]string{}
	inner := map[string]bool{}
	vars := map[string]bool{}
	optionals := 0
	for place, id := range chosen {
		n := g.Node(id)
		var written, called []string
		for _, v := range n.In {
			switch lit := g.Literal(v); {
			case lines[v] != "":
				inner[lines[v]] = true
				text := lines[v]
				if optionals < 3 && r.IntN(6) == 0 { // a conversion that changes nothing, and is not there
					optionals++
					text = []string{"optional(astype(%s, dtype=float32))", "optional(astype(dtype=float32, a=%s))"}[r.IntN(2)]
					text = fmt.Sprintf(text, lines[v])
				}
				written, called = append(written, text), append(called, lines[v])
			case lit != nil && r.IntN(2) == 0:
				written, called = append(written, lit.String()), append(called, lit.String())
			default:
				if operand[v] == "" {
					operand[v] = fmt.Sprintf("x%d", len(operand))
					operands = append(operands, operand[v])
					dims := "a" + operand[v] + ", b" + operand[v]
					if lit != nil {
						dims = ""
					}
					inputs = append(inputs, fmt.Sprintf("%s: 'float32[%s]'", operand[v], dims))
				}
				written, called = append(written, operand[v]), append(called, operand[v])
			}
		}
		for i, a := range n.Attrs {
			spec := n.Op.Attrs[i]
			d, isInt := a.(graph.Dim)
			if a == nil {
				continue
			}
			if list, ok := a.(graph.Dims); ok && len(list) == 1 {
				d, isInt = list[0], true
			}
			if !isInt || r.IntN(2) == 0 || spec.Kind != graph.KindAxis && spec.Kind != graph.KindPosList {
				text := spec.Name + "=" + graph.AttrText(spec.Kind, a)
				written, called = append(written, text), append(called, text)
				continue
			}
			long := g.Node(chosen[r.IntN(place+1)]).Out[0] // a line of three columns, further down perhaps
			measures := long != n.Out[0] && g.Type(long).Shape[1].Is(3)
			if spec.Kind == graph.KindAxis && measures && r.IntN(2) == 0 {
				text := fmt.Sprintf("%s=dim(%s, -1)-%d", spec.Name, lines[long], 3-d.Int())
				written, called = append(written, text), append(called, text)
				continue
			}
			v := fmt.Sprintf("axis%d", -d.Int())
			at := "$" + v
			if spec.Kind == graph.KindPosList { // the variable for 1 is another than that for 2
				v = fmt.Sprintf("k%d", d.Int())
				if at = "$" + v; r.IntN(2) == 0 {
					v = fmt.Sprintf("k%d", 3-d.Int())
					at = "-$" + v // the same place, counted from the end
					if measures && r.IntN(2) == 0 {
						at = fmt.Sprintf("dim(%s, -1)-$%s", lines[long], v)
					}
				}
			}
			if !vars[v] {
				vars[v] = true
				attrs, passed = append(attrs, v+": {kind: int}"), append(passed, v+"=$"+v)
			}
			written, called = append(written, spec.Name+"="+at), append(called, spec.Name+"="+at)
		}
		name, op := lines[n.Out[0]], n.Op.Name
		if dir := "forth"; op == "cumsum" && r.IntN(2) == 0 { // by a fragment of two spellings
			if n.Attr("reverse") == graph.Flag(true) {
				dir = "back"
			}
			axis := n.Attr("axis").String()
			if i := slices.IndexFunc(written, func(w string) bool { return strings.HasPrefix(w, "axis=$") }); i >= 0 {
				axis = strings.TrimPrefix(written[i], "axis=")
			}
			by := strconv.Quote(dir)
			if r.IntN(2) == 0 { // any spelling, told apart by a guard
				by = "$dir" + name
				guards = append(guards, fmt.Sprintf("dir%s: 'dir%s == %q'", name, name, dir))
			}
			op, written = "scan", []string{written[0], axis, by}
		}
		match = append(match, fmt.Sprintf("%s: '%s(%s)'", name, op, strings.Join(written, ", ")))
		reference = append(reference, fmt.Sprintf("%s: '%s(%s)'", name, n.Op.Name, strings.Join(called, ", ")))
	}
	for i, id := range chosen { // now and then a value that is read outside is no result
		v := g.Node(id).Out[0]
		outside := uses.IsOutput(v) || slices.ContainsFunc(uses.Of(v), func(u graph.NodeID) bool { return !slices.Contains(chosen, u) })
		if line := fmt.Sprintf("l%d", i); !inner[line] || outside && r.IntN(8) != 0 || r.IntN(8) == 0 {
			results = append(results, line)
		} else if outside {
			fits = false
		}
	}
	r.Shuffle(len(match), func(i, j int) { match[i], match[j] = match[j], match[i] }) // a line may read a later one
	call := fmt.Sprintf("kernel.%s(%s)", name, strings.Join(append(operands, passed...), ", "))
	rule = fmt.Sprintf("  - name: %s\n    doc: Cut out of a graph.\n    match:\n      %s\n    results: [%s]\n    guards: {%s}\n    replace:\n      %s: '%s'\n    numerics: exact\n",
		name, strings.Join(match, "\n      "), strings.Join(results, ", "), strings.Join(guards, ", "), strings.Join(results, ", "), call)
	spec = fmt.Sprintf("zmlx: 1\nkernel: %s\ndoc: Cut out of a graph.\ninputs: {%s}\nattrs: {%s}\nreference:\n  %s\nresults: [%s]\nnumerics: exact\n",
		name, strings.Join(inputs, ", "), strings.Join(attrs, ", "), strings.Join(reference, "\n  "), strings.Join(results, ", "))
	return rule, spec, fits
}

// FuzzRules rewrites random graphs by rules that were cut out of random graphs, each
// replaced by a kernel that is defined as the pattern itself: whatever matches, where
// and in what order, no bit may change.
func FuzzRules(f *testing.F) {
	seeds := uint64(150)
	if testing.Short() || flag.Lookup("test.fuzz").Value.String() != "" { // the fuzzer tries all seeds first, which takes it longer than it has
		seeds = 10
	}
	for seed := range seeds {
		f.Add(seed)
	}
	f.Add(uint64(179)) // found a line that only dim() named and that was dropped
	f.Add(uint64(603)) // found maximum in either order
	f.Fuzz(func(t *testing.T, seed uint64) { randomRewrite(t, seed) })
}

func randomRewrite(t *testing.T, seed uint64) {
	c := makeRandomCase(t, seed, false)
	n, refusals := checkSound(t, c.set, c.text, -1)
	// A match that a kernel's domain (a constant for a matrix) or a guard refuses is not tried again
	// in another way.
	other := slices.ContainsFunc(refusals, func(r *Refusal) bool { return r.Code == CodeKernel || r.Code == CodeGuard })
	if n == 0 && c.must && !other {
		t.Error("a rule does not apply where it was cut out")
	}
	if t.Failed() {
		t.Log(c.file, c.text)
	}
}

// randomCase is a random graph, and rules that were cut out of it and of others.
type randomCase struct {
	text  string // of the graph
	rules string // as text
	specs map[string]string
	must  bool // a rule must apply

	file string // of the rules of this case and others
	set  *rules.Set
	own  []*rules.Rule
}

// makeRandomCase makes the case of a seed. With reordered, softmax is written out in the
// references of kernels, so that rewritten graphs round otherwise.
func makeRandomCase(t testing.TB, seed uint64, reordered bool) *randomCase {
	c := drawRandomCase(t, seed, "", reordered)
	linkRandomCases(t, c)
	return c
}

// drawRandomCase makes the texts of a case, with names that begin with a prefix.
func drawRandomCase(t testing.TB, seed uint64, prefix string, reordered bool) *randomCase {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 11))
	c := &randomCase{text: randomGraph(r), specs: map[string]string{}}
	parse := func(text string) *graph.Graph {
		p, issues := graph.ParseText("random.zg", []byte(text), nil)
		if issues.HasErrors() {
			t.Fatal(issues, text)
		}
		g := p.Cases[0].Graph
		if err := g.Compact(); err != nil {
			t.Fatal(err)
		}
		return g
	}
	source := parse(c.text)
	for i := range 1 + r.IntN(3) {
		if i == 1 { // a rule of another graph, that is here by chance or not at all
			source = parse(randomGraph(r))
		}
		name := fmt.Sprintf("%sr%d", prefix, i)
		rule, spec, fits := randomRule(r, source, name)
		if reordered {
			rule, spec = writtenOut(rule), writtenOut(spec)
		}
		c.must = c.must || fits && i == 0
		c.rules, c.specs[name] = c.rules+rule, spec
	}
	return c
}

// linkRandomCases loads the rules and kernels of cases at once.
func linkRandomCases(t testing.TB, all ...*randomCase) {
	t.Helper()
	file := `zmlx: 1
family: random
fragments:
  scan(s, $axis, $dir):
    - {is: 'cumsum(s, axis=$axis, reverse=true)', set: {dir: back}}
    - {is: 'cumsum(s, axis=$axis)', set: {dir: forth}}
rules:
`
	specs := map[string]string{}
	for _, c := range all {
		file += c.rules
		maps.Copy(specs, c.specs)
	}
	set, err := setOf(t, file, specs)
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	for _, c := range all {
		c.file, c.set = file, set
		for _, r := range set.Rules() {
			if c.specs[strings.TrimPrefix(r.Name, "random.")] != "" {
				c.own = append(c.own, r)
			}
		}
	}
}

var softmaxLine = regexp.MustCompile(`(?m)^  (l[0-9]+): 'softmax\(([a-z0-9]+)[^']*\)'$`)

// writtenOut gives a rule or a kernel the weaker promise, and writes softmax in a kernel's
// reference as what it is made of.
func writtenOut(text string) string {
	text = strings.ReplaceAll(text, "numerics: exact", "numerics: reordered")
	if !strings.HasPrefix(text, "zmlx") {
		return text
	}
	return softmaxLine.ReplaceAllString(text, "  m$1: 'max($2, axis=-1, keepdims=true)'\n  e$1: 'exp(subtract($2, m$1))'\n  t$1: 'sum(e$1, axis=-1, keepdims=true)'\n  $1: 'divide(e$1, t$1)'")
}
