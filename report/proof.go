package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/proof"
)

// Proofs is what verify found out about rules. Its JSON form is a contract: fields may be
// added, these stay. docs/VERIFY.md describes them.
type Proofs struct {
	Version  int             `json:"version" jsonschema:"of this form: 1"`
	Rules    []ProvedRule    `json:"rules" jsonschema:"one by one"`
	Together []ProvedProfile `json:"together" jsonschema:"rules as profiles use them"`
	Summary  ProofsSummary   `json:"summary" jsonschema:"rules by status"`
	Cut      bool            `json:"interrupted,omitempty" jsonschema:"ctrl-C came before all rules were looked at; these are some"`

	Took    time.Duration `json:"-"`
	checks  []string      // in their order
	details bool          // Text tells all of Why
}

// ProvedProfile is what was found out about rules that are used together.
type ProvedProfile struct {
	Name   string    `json:"name" jsonschema:"profile and target"`
	Rules  int       `json:"rules" jsonschema:"in it"`
	Models int       `json:"models" jsonschema:"that they were applied to"`
	Status string    `json:"status" jsonschema:"of the worst check"`
	Count  int       `json:"count" jsonschema:"what was looked at"`
	Checks []Verdict `json:"checks" jsonschema:"with their verdicts"`
}

// ProofsSummary counts rules by their status.
type ProofsSummary struct {
	Rules     int `json:"rules" jsonschema:"in all"`
	Proven    int `json:"proven" jsonschema:"of them"`
	Tested    int `json:"tested" jsonschema:"of them"`
	Assumed   int `json:"assumed" jsonschema:"of them"`
	Unchecked int `json:"unchecked" jsonschema:"of them"`
	Failed    int `json:"failed" jsonschema:"of them"`
}

// ProvedRule is one rule with the verdicts of all checks.
type ProvedRule struct {
	Name      string    `json:"name" jsonschema:"full name"`
	File      string    `json:"file" jsonschema:"that it is in"`
	Line      int       `json:"line" jsonschema:"of the file"`
	Hash      string    `json:"hash" jsonschema:"of the rule"`
	Doc       string    `json:"doc" jsonschema:"what it saves"`
	Numerics  string    `json:"numerics" jsonschema:"how results may differ"`
	Status    string    `json:"status" jsonschema:"of the worst check"`
	Patterns  int       `json:"patterns" jsonschema:"that it stands for"`
	Instances []string  `json:"instances" jsonschema:"where each is from"`
	Checks    []Verdict `json:"checks" jsonschema:"with their verdicts, in order"`
	TookMS    int64     `json:"took_ms" jsonschema:"milliseconds"`

	report *proof.Report
}

// Verdict is what one check says.
type Verdict struct {
	Check   string   `json:"check" jsonschema:"name; docs/VERIFY.md says what each is"`
	Status  string   `json:"status" jsonschema:"what it found"`
	Method  string   `json:"method" jsonschema:"what decided"`
	Count   int      `json:"count" jsonschema:"what was looked at: mutants, points, cases"`
	Code    string   `json:"code,omitempty" jsonschema:"of what failed or is only a lint, stable"`
	Detail  string   `json:"detail" jsonschema:"one line"`
	Why     []string `json:"why" jsonschema:"more lines"`
	Counter *Counter `json:"counterexample,omitempty" jsonschema:"that shows the failure, if it is a matter of values"`
	TookMS  int64    `json:"took_ms" jsonschema:"milliseconds"`
}

// Counter is a call for which pattern and replacement differ. Numbers that JSON does not
// have are words: "NaN", "+Inf", "-Inf".
type Counter struct {
	Where  string           `json:"where" jsonschema:"the instance that it is a call of"`
	Target string           `json:"target" jsonschema:"that guards were evaluated for"`
	Dims   map[string]int64 `json:"dims" jsonschema:"symbols of the call"`
	Output string           `json:"output" jsonschema:"that differs"`
	Index  []int            `json:"index" jsonschema:"element of the output"`
	Want   Number           `json:"want" jsonschema:"what the pattern gives"`
	Got    Number           `json:"got" jsonschema:"what the replacement gives"`
	Inputs []CounterInput   `json:"inputs" jsonschema:"of the call, and its parameters"`
	File   string           `json:"file,omitempty" jsonschema:"that verify --replay reads"`
}

// CounterInput is an input or a parameter of the call.
type CounterInput struct {
	Name   string   `json:"name" jsonschema:"of the input"`
	Shape  []int    `json:"shape" jsonschema:"of it"`
	Values []Number `json:"values" jsonschema:"in row-major order"`
}

// Number is a number, which JSON cannot always write.
type Number float64

// MarshalJSON writes NaN and infinities as words.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(nil, n.String()), nil
	}
	return json.Marshal(float64(n))
}

func (n Number) String() string {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return map[bool]string{true: "NaN"}[math.IsNaN(f)] + map[bool]string{true: "+Inf"}[math.IsInf(f, 1)] + map[bool]string{true: "-Inf"}[math.IsInf(f, -1)]
	}
	return strconv.FormatFloat(float64(n), 'g', -1, 64)
}

// NewProofs makes the account of what was found out about rules. files are those that
// counterexamples were written to.
func NewProofs(all []*proof.Report, files map[*proof.Counterexample]string) *Proofs {
	p := &Proofs{Version: 1, Rules: []ProvedRule{}, Together: []ProvedProfile{}, details: len(all) <= 3}
	p.Summary.Rules = len(all)
	for _, c := range proof.Checks {
		p.checks = append(p.checks, c.Name)
	}
	for _, r := range all {
		x := ProvedRule{Name: r.Rule.Name, File: r.Rule.File.Path, Line: r.Rule.Pos.Line, Hash: r.Rule.Hash, Doc: r.Rule.Doc, Numerics: string(r.Rule.Numerics),
			Status: r.Status().String(), Instances: []string{}, Checks: []Verdict{}, TookMS: r.Took.Milliseconds(), report: r}
		if r.Instances != nil {
			x.Patterns = len(r.Instances.Patterns)
			for _, in := range r.Instances.All {
				x.Instances = append(x.Instances, in.Where)
			}
		}
		for _, v := range r.Verdicts {
			x.Checks = append(x.Checks, newVerdict(v, files))
		}
		switch r.Status() {
		case proof.Proven:
			p.Summary.Proven++
		case proof.Tested:
			p.Summary.Tested++
		case proof.Assumed:
			p.Summary.Assumed++
		case proof.Unchecked:
			p.Summary.Unchecked++
		case proof.Failed:
			p.Summary.Failed++
		}
		p.Rules = append(p.Rules, x)
	}
	return p
}

// AddTogether adds what was found out about rules that are used together.
func (p *Proofs) AddTogether(f *proof.Together, verdicts []*proof.Verdict) {
	x := ProvedProfile{Name: f.Name, Rules: len(f.Rules), Models: len(f.Models), Checks: []Verdict{}}
	for _, v := range verdicts {
		x.Checks = append(x.Checks, newVerdict(v, nil))
	}
	x.Status, x.Count = sum(x.Checks, "")
	if x.Status == proof.Failed.String() {
		p.Summary.Failed++
	}
	p.Together = append(p.Together, x)
}

func newVerdict(v *proof.Verdict, files map[*proof.Counterexample]string) Verdict {
	x := Verdict{Check: v.Check, Status: v.Status.String(), Method: v.Method, Count: v.Count, Code: v.Code, Detail: v.Detail, Why: append([]string{}, v.Why...), TookMS: v.Took.Milliseconds()}
	if c := v.Counter; c != nil {
		x.Counter = &Counter{Where: c.Instance.Where, Target: c.Target, Dims: map[string]int64{}, Output: c.Output, Index: append([]int{}, c.Index...), Want: Number(c.Want), Got: Number(c.Got), Inputs: []CounterInput{}, File: files[c]}
		maps.Copy(x.Counter.Dims, c.Dims)
		for _, name := range sortedNames(c.Inputs) {
			in := CounterInput{Name: name, Shape: append([]int{}, c.Inputs[name].Shape...), Values: []Number{}}
			for _, f := range c.Inputs[name].Values {
				in.Values = append(in.Values, Number(f))
			}
			x.Counter.Inputs = append(x.Counter.Inputs, in)
		}
	}
	return x
}

func sortedNames(m map[string]proof.Array) []string {
	var list []string
	for name := range m {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// Failed is how many rules failed.
func (p *Proofs) Failed() int { return p.Summary.Failed }

// JSON writes the account as one object.
func (p *Proofs) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(p)
}

// Text writes a table: for each rule and check, the status and how much was looked at;
// and below it what failed, and what else there is to know.
func (p *Proofs) Text(w io.Writer) {
	rows := [][]string{append(append([]string{"rule"}, p.checks...), "time")}
	for i := range p.Rules {
		r := &p.Rules[i]
		row := []string{r.Name}
		for _, c := range p.checks {
			text := "-"
			if status, count := r.check(c); status != "" {
				text = status
				if count > 0 {
					text += " " + strconv.Itoa(count)
				}
			}
			row = append(row, text)
		}
		rows = append(rows, append(row, seconds(time.Duration(r.TookMS)*time.Millisecond)))
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], len(text))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, text := range row {
			fmt.Fprintf(&b, "%-*s  ", widths[i], text)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		for _, c := range causes(r.Checks) {
			p.note(w, c.said, r.Name, fmt.Sprintf("%s:%d", r.File, r.Line))
			c.text(w)
		}
	}
	if len(p.Together) > 0 {
		fmt.Fprintln(w, "\nrules together:")
	}
	for i := range p.Together {
		t := &p.Together[i]
		fmt.Fprintf(w, "%-24s %s, %s  %s %d\n", t.Name, counted(t.Rules, "rule"), counted(t.Models, "model"), t.Status, t.Count)
	}
	for i := range p.Together {
		for k := range p.Together[i].Checks {
			p.note(w, &p.Together[i].Checks[k], p.Together[i].Name, "")
		}
	}
	s := p.Summary
	cut := ""
	if p.Cut {
		cut = "interrupted: "
	}
	fmt.Fprintf(w, "\n%s%s: %d proven, %d tested, %d assumed, %d unchecked, %d failed · %s\n", cut, counted(s.Rules, "rule"), s.Proven, s.Tested, s.Assumed, s.Unchecked, s.Failed, seconds(p.Took))
}

// cause is a mistake, as one check says it, and the other checks that found it.
type cause struct {
	said  *Verdict
	found []*Verdict
}

func (c *cause) text(w io.Writer) {
	if len(c.found) == 0 {
		return
	}
	var list []string
	for _, v := range c.found {
		list = append(list, fmt.Sprintf("%s [%s]", v.Check, v.Code))
	}
	fmt.Fprintf(w, "  found by %s, too: -o json has what each says\n", strings.Join(list, ", "))
}

// causes puts the verdicts of a rule together that are about one mistake. A replacement that
// computes another function than its pattern fails whatever else compares values: the check
// that says so in the plainest way, equivalence, stands for all of them. So does the first
// of several that came to the same counterexample.
func causes(list []Verdict) []*cause {
	var all []*cause
	same := map[string]*cause{}
	for k := range list {
		if v := &list[k]; v.Status == "failed" && v.Check == proof.CheckEquivalence && v.Counter != nil {
			same["another function"] = &cause{said: v}
		}
	}
	for k := range list {
		v := &list[k]
		key := ""
		if v.Status == "failed" {
			switch {
			case same["another function"] != nil && slices.Contains([]string{proof.CheckEquivalence, proof.CheckMutations, proof.CheckSymmetry, proof.CheckRounding, proof.CheckGuards}, v.Check):
				key = "another function"
			case v.Counter != nil:
				key = v.Counter.key()
			}
		}
		c := same[key]
		switch {
		case key == "" || c == nil:
			c = &cause{said: v}
			if all = append(all, c); key != "" {
				same[key] = c
			}
		case c.said == v:
		default:
			c.found = append(c.found, v)
		}
		if key != "" && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// key is the call of a counterexample, wherever it is from.
func (c *Counter) key() string {
	return fmt.Sprint(c.Dims, c.Output, c.Index, c.Inputs)
}

// note writes what there is to know of a verdict: of one that failed, or is a lint; and of
// few rules, what it rests on.
func (p *Proofs) note(w io.Writer, v *Verdict, name, where string) {
	switch {
	case v.Status == "failed":
		fmt.Fprintf(w, "\nFAILED %s: %s [%s] %s\n", name, v.Check, v.Code, where)
	case v.Code != "":
		fmt.Fprintf(w, "\nlint %s: %s [%s] %s\n", name, v.Check, v.Code, where)
	case v.Status == "unchecked" || v.Status == "assumed" && p.details:
		fmt.Fprintf(w, "\n%s %s: %s\n", v.Status, name, v.Check)
	default:
		return
	}
	if v.Detail != "" {
		fmt.Fprintf(w, "  %s\n", v.Detail)
	}
	why := v.Why
	if len(why) > shownReasons {
		why = append(slices.Clip(why[:shownReasons]), fmt.Sprintf("and %d more: -o json has all", len(v.Why)-shownReasons))
	}
	for _, line := range why {
		fmt.Fprintf(w, "  - %s\n", line)
	}
	if v.Counter != nil {
		v.Counter.text(w)
	}
}

// shownReasons is how many lines of Why are printed.
const shownReasons = 8

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// check sums up the parts of a check.
func (r *ProvedRule) check(name string) (status string, count int) { return sum(r.Checks, name) }

// sum is the status of the weakest of the verdicts of a check, or of all, and how much
// they looked at.
func sum(list []Verdict, name string) (status string, count int) {
	order := []string{"failed", "unchecked", "assumed", "tested", "proven"}
	worst := len(order)
	for i := range list {
		if v := &list[i]; v.Check == name || name == "" {
			worst = min(worst, slices.Index(order, v.Status))
			count += v.Count
		}
	}
	if worst < len(order) {
		status = order[worst]
	}
	return status, count
}

// shownValues is how many values of an input are printed, and shownOthers how many of those
// that are not like most.
const (
	shownValues = 24
	shownOthers = 8
)

func (c *Counter) text(w io.Writer) {
	fmt.Fprintf(w, "  counterexample, as small as it gets, at %s, target %s", c.Where, c.Target)
	for _, name := range slices.Sorted(mapKeys(c.Dims)) {
		fmt.Fprintf(w, ", %s=%d", name, c.Dims[name])
	}
	fmt.Fprintf(w, ":\n    %s%v is %s, with the rule it is %s\n", c.Output, c.Index, c.Want, c.Got)
	for _, in := range c.Inputs {
		fmt.Fprintf(w, "    %s %v = %s\n", in.Name, in.Shape, in.text())
	}
	if c.File != "" {
		fmt.Fprintf(w, "  replay it: zmlx-rewrite verify --replay %s\n", c.File)
	}
}

// text prints values: all of few, of many those that are not like most, and else the first.
func (in *CounterInput) text() string {
	var list []string
	counts := map[string]int{}
	most := ""
	for _, v := range in.Values {
		if counts[v.String()]++; counts[v.String()] > counts[most] {
			most = v.String()
		}
	}
	if n := len(in.Values); n > shownValues && n-counts[most] <= shownOthers {
		for i, v := range in.Values {
			if v.String() != most {
				list = append(list, fmt.Sprintf("[%d] = %s", i, v))
			}
		}
		if len(list) == 0 {
			return "all " + most
		}
		return fmt.Sprintf("all %s but %s", most, strings.Join(list, ", "))
	}
	for _, v := range in.Values[:min(len(in.Values), shownValues)] {
		list = append(list, v.String())
	}
	if len(in.Values) > shownValues {
		list = append(list, fmt.Sprintf("… %d in all", len(in.Values)))
	}
	return strings.Join(list, ", ")
}

func mapKeys[T any](m map[string]T) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// block is a part of a rule, as its file has it.
func block(title string, lines []rules.Line) string {
	var b strings.Builder
	if len(lines) > 0 {
		fmt.Fprintf(&b, "%s:\n", title)
	}
	for _, l := range lines {
		fmt.Fprintf(&b, "  %s: %s\n", strings.Join(l.Names, ", "), l.Expr)
	}
	return b.String()
}
