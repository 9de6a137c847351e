// Package rewrite applies rules to programs: it plans which matches to take, builds
// and checks every replacement, splits cases where a guard can be decided only when
// the program runs, and writes down what it did.
//
// What it promises: the result does not depend on the order in which nodes were
// added or rules were read; every replacement has the types of what it replaces,
// is inside its kernel's domain, and starts fewer launches; and every site where a
// rule applied, or nearly did, is in the result with the reason. It does not run
// graphs and knows no engines.
package rewrite

import (
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rules"
)

// Config is what a rewrite is made with.
type Config struct {
	Set     *rules.Set
	Rules   []*rules.Rule // in order of preference among matches of one size
	Setting guard.Setting
	// Off gives rules that must not be applied, with the reason. Where they match is
	// looked up when it is asked for.
	Off map[string]string
	// Keep, if it is not nil, says which of the sites that would be rewritten are. It is
	// called from several goroutines. A site of a later round may need those of earlier
	// ones: what is kept is best a prefix of the sites of each case.
	Keep func(SiteID) bool
}

// Result is a rewritten program and the account of how it came about.
type Result struct {
	Before  *graph.Program
	Program *graph.Program
	Cases   []CaseResult
	// Stop says why the rewriting ended: StopDone, or StopFuel.
	Stop string
}

// Reasons for the end of rewriting.
const (
	StopDone = "no rule applies any more"
	StopFuel = "the limit of rounds was reached"
)

// CaseResult is one case of the rewritten program.
type CaseResult struct {
	From   string // name of the case that it was made of
	Name   string
	When   graph.Cond
	Before *graph.Graph
	After  *graph.Graph
	Sites  []Site

	given   graph.Cond         // all that holds in the case: When, and that no case before it applies
	decided []decision         // how it came to be split
	added   map[*graph.Op]bool // ops of the nodes that the last round added

	refusals []Refusal // whole matches that were not taken
	account  *account
	ix       *matcher.Index // of Before, when an explanation has asked for it
}

// Site is one place where a rule was applied.
type Site struct {
	ID     SiteID
	Rule   *rules.Rule
	Scope  string // of the first result: "model.layers.3.mlp"
	Guards []GuardValue
	Match  *matcher.Match
	Round  int // 1 for matches in the program as loaded
	Size   int // nodes replaced
	Saved  int // launches saved
	Params []*graph.Param

	graph *graph.Graph // as matched
	cand  *candidate
}

// GuardValue is what a guard said at a site.
type GuardValue struct {
	Name string
	Text string
	Cond graph.Cond // True if it was decided, else what has to hold when the case runs

	guard *guard.Guard // nil for a condition of a kernel's domain
	env   *guard.Env
}

// Values prints what the guard's names stood for: "seq_len = 1".
func (v *GuardValue) Values() string {
	if v.guard == nil {
		return "decided when it runs"
	}
	return v.guard.Values(v.env)
}

// Refusal is one place where a rule did not apply.
type Refusal struct {
	Rule    *rules.Rule
	Scope   string
	Code    string
	Matched int // nodes of the pattern that matched
	Of      int // nodes of the pattern
	Guard   string
	// Winner has the nodes, where another rule took them (CodeOverlap), with a match of
	// WinnerSize nodes.
	Winner     *rules.Rule
	WinnerSize int

	late   bool // it came up in choosing among matches
	line   string
	detail func() (expected, observed string) // formats on demand: most refusals are never read
}

// Codes of refusals beyond those of package matcher.
const (
	CodeGuard   = "guard/false"
	CodeUnknown = "symbol-unknown"
	CodeKernel  = "kernel/domain"
	CodeType    = "replace/type"
	CodeBuild   = "replace/build"
	CodeCost    = "replace/cost"
	CodeWeights = "weights/parameter"
	CodeOverlap = "plan/overlap"
	CodeOff     = "plan/off"
	CodeCycle   = "plan/cycle"
	CodeLeftOut = "plan/left-out"
)

// Detail returns what the rule wanted at the place, and what it found instead.
func (r *Refusal) Detail() (expected, observed string) { return r.detail() }

// Line returns the name of the pattern line where matching stopped, or "".
func (r *Refusal) Line() string { return r.line }

// Numerics composes the contracts of all rules that were applied in the case.
func (c *CaseResult) Numerics() kernels.Numerics {
	worst := kernels.Exact
	for _, s := range c.Sites {
		if s.Rule.Numerics.WorseThan(worst) {
			worst = s.Rule.Numerics
		}
	}
	return worst
}

// Overlaps returns the matches that were not taken because another rule's took their nodes.
func (c *CaseResult) Overlaps() []*Refusal {
	var all []*Refusal
	for i := range c.refusals {
		if c.refusals[i].Winner != nil {
			all = append(all, &c.refusals[i])
		}
	}
	return all
}

// Whole returns the whole matches of a rule in the graph as loaded that were not taken.
func (c *CaseResult) Whole(r *rules.Rule) []*Refusal {
	var all []*Refusal
	for i := range c.refusals {
		if c.refusals[i].Rule == r {
			all = append(all, &c.refusals[i])
		}
	}
	return all
}

// Matches counts the sites of a rule in the case of that name.
func (c *CaseResult) Matches(rule string) int {
	n := 0
	for _, s := range c.Sites {
		if s.Rule.Name == rule {
			n++
		}
	}
	return n
}
