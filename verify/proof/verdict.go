package proof

import (
	"fmt"
	"time"
)

// Status is how sure a check is of what it says.
type Status int

const (
	// Unchecked: something that the check needs is not here. Detail says what.
	Unchecked Status = iota
	// Failed: there is a counterexample, or the rule claims what is not so.
	Failed
	// Assumed: what was tried holds, and some ops were taken for equal because they stand
	// on both sides, in a way that the method does not decide (comparisons, top-k).
	Assumed
	// Tested: it holds at all points that were tried.
	Tested
	// Proven: it holds whatever the values are.
	Proven
)

func (s Status) String() string {
	return [...]string{"unchecked", "failed", "assumed", "tested", "proven"}[s]
}

// The checks of a rule, from cheap to dear.
const (
	CheckInstances   = "instances"   // each pattern has an instance
	CheckSelfMatch   = "self-match"  // each pattern, rendered as a graph, matches itself
	CheckMutations   = "mutations"   // each change that leaves the rule's domain does not match
	CheckEquivalence = "equivalence" // pattern and replacement compute the same function
	CheckRounding    = "rounding"    // the class under `numerics` is what they differ by
	CheckKernel      = "kernel"      // the kernels' sources compute their references
	CheckGuards      = "guards"      // each guard is necessary, live and sufficient
	CheckRules       = "rules"       // between rules: shadowed, duplicate, undoing, order
)

// Verdict is what one check found out about one rule.
type Verdict struct {
	Check  string
	Status Status
	Method string // what decided: "normal form", "finite field", "float64", …
	Count  int    // what was looked at: mutants, points, …
	Detail string // one line for people
	Code   string // stable, of what failed or is only a lint: "proof/mutant-matches", "guard-dead"
	Why    []string
	// Counter is an example that shows the failure, if it is a matter of values.
	Counter *Counterexample
	Took    time.Duration
}

// Failed reports whether the verdict keeps a rule from being used.
func (v *Verdict) Failed() bool { return v.Status == Failed }

// Counterexample is a call of an instance for which pattern and replacement differ.
type Counterexample struct {
	Instance *Instance
	Target   string           // that the rule was applied for
	Dims     map[string]int64 // of symbols
	Inputs   map[string]Array // inputs and parameters, by the pattern's names
	Output   string           // the result that differs
	Index    []int            // where
	Want     float64          // of the pattern
	Got      float64          // of the replacement
}

func (c *Counterexample) String() string {
	return fmt.Sprintf("%s%v is %v, and with the rule %v (%s)", c.Output, c.Index, c.Want, c.Got, c.Instance.Where)
}

// Array is the values of an input, row-major, each a number that its element type has.
type Array struct {
	Shape  []int
	Values []float64
}
