// Package choose finds out which rules pay, by timing a plan with each of them and without
// it. A rule is dropped only if all of the interval of its gain says that it slows down, and
// added only if all of it says that it speeds up.
//
// It knows neither rules nor engines: what a rule is, whether it is right, and how long a
// plan takes is asked of a Bench. Rules that pay only together, and neither of them with the
// others alone, are not found.
package choose

import (
	"context"
	"fmt"
	"slices"
)

// Rule is a rule by name, and whether it is on to begin with. One to keep stays as it is,
// unless it is refused: it is not timed.
type Rule struct {
	Name string
	On   bool
	Keep bool
}

// Gain is how many times as fast a plan is with a rule as without it.
type Gain struct {
	Ratio  float64 `json:"ratio" jsonschema:"time without the rule over time with it: above 1, the rule pays; median over rounds"`
	Low    float64 `json:"low" jsonschema:"of the 95 % interval by bootstrap over rounds"`
	High   float64 `json:"high" jsonschema:"of the same interval"`
	Rounds int     `json:"rounds" jsonschema:"of A B B A that count"`
}

// String says it for people: "1.310 [1.280, 1.340]".
func (g Gain) String() string { return fmt.Sprintf("%.3f [%.3f, %.3f]", g.Ratio, g.Low, g.High) }

// Verdict is what a gain says of a rule.
type Verdict string

const (
	Faster Verdict = "faster" // all of the interval is above 1
	Slower Verdict = "slower" // all of it is below
	Even   Verdict = "even"   // it holds 1: nothing is shown
)

// Verdict judges a gain.
func (g Gain) Verdict() Verdict {
	switch {
	case g.Low > 1:
		return Faster
	case g.High < 1:
		return Slower
	}
	return Even
}

// Bench is what plans are checked and timed with.
type Bench interface {
	// Check returns the rules of a plan that may not be used: one that failed, or that could
	// not be checked.
	Check(ctx context.Context, on []string) (refused []string, err error)
	// Time times two plans. ok is false if they are the same plan, or could not be timed.
	Time(ctx context.Context, without, with []string) (g Gain, ok bool, err error)
}

// Outcome is what was found about a rule.
type Outcome struct {
	Rule
	Refused bool
	Verdict Verdict  // "" if it was not timed: refused, or it changes nothing where it was tried
	Gain    *Gain    // beside the other rules that are on; decides
	Alone   *Gain    // against no rules at all; for people
	With    []string // the rules that were on beside it when Gain was measured
}

// Stays reports whether the rule is on after it.
func (o *Outcome) Stays() bool {
	switch {
	case o.Refused, o.Verdict == Slower:
		return false
	case o.Verdict == Faster:
		return true
	}
	return o.On
}

// Result is what a search ends with.
type Result struct {
	On       []string   // in the order of the list
	Outcomes []*Outcome // likewise
	// Change is what was chosen against what was on at first, less what was refused; nil if
	// that is the same. If it is slower, all is as it was, and no verdict stands.
	Change *Gain
}

// search is one run of Search.
type search struct {
	b    Bench
	list []*Outcome
	on   map[string]bool
}

// Search times each rule, those that are on first, in the order of the list. A rule that
// changes nothing, since another one has its places, gets its turn when that one is dropped.
// With alone, each is also timed against no rules at all, which decides nothing. done, which
// may be nil, is told of each outcome as it comes about. The result that comes with an error
// has what was found until then.
func Search(ctx context.Context, rules []Rule, b Bench, alone bool, done func(*Outcome) error) (*Result, error) {
	s := &search{b: b, on: map[string]bool{}}
	for _, r := range rules {
		s.list = append(s.list, &Outcome{Rule: r})
		s.on[r.Name] = r.On
	}
	if err := s.admit(ctx, s.names()); err != nil {
		return s.so(), err
	}
	order := slices.Clone(s.list)
	slices.SortStableFunc(order, func(x, y *Outcome) int {
		switch {
		case x.On == y.On:
			return 0
		case x.On:
			return -1
		}
		return 1
	})
	for again, first := true, true; again; first = false {
		again = false
		for _, o := range order {
			if o.Verdict != "" || o.Refused || o.Keep {
				continue
			}
			before := s.on[o.Name]
			if err := s.try(ctx, o, alone && first); err != nil {
				return s.so(), err
			}
			again = again || s.on[o.Name] != before
			if done != nil && (first || o.Verdict != "") {
				if err := done(o); err != nil {
					return s.so(), err
				}
			}
		}
	}
	return s.confirm(ctx, done)
}

// so is the result so far.
func (s *search) so() *Result { return &Result{On: s.names(), Outcomes: s.list} }

// names are the rules that are on, in the order of the list.
func (s *search) names() []string {
	list := []string{}
	for _, o := range s.list {
		if s.on[o.Name] && !o.Refused {
			list = append(list, o.Name)
		}
	}
	return list
}

// but are the rules that are on beside one.
func (s *search) but(name string) []string {
	return slices.DeleteFunc(s.names(), func(n string) bool { return n == name })
}

// and are the rules that are on, and one.
func (s *search) and(name string) []string {
	was := s.on[name]
	s.on[name] = true
	defer func() { s.on[name] = was }()
	return s.names()
}

// admit has a plan checked, and remembers what is refused: for good.
func (s *search) admit(ctx context.Context, on []string) error {
	for {
		refused, err := s.b.Check(ctx, on)
		if err != nil || len(refused) == 0 {
			return err
		}
		n := len(on)
		on = slices.DeleteFunc(slices.Clone(on), func(name string) bool { return slices.Contains(refused, name) })
		if len(on) == n {
			return fmt.Errorf("%v is refused, and none of the rules that were asked for", refused)
		}
		for _, o := range s.list {
			if slices.Contains(refused, o.Name) {
				o.Refused, s.on[o.Name] = true, false
			}
		}
	}
}

// try times a rule beside the others, and the first time alone, too.
func (s *search) try(ctx context.Context, o *Outcome, alone bool) error {
	// Without a rule others have its places: they may never have been checked there.
	for _, on := range [][]string{s.and(o.Name), s.but(o.Name)} {
		if err := s.admit(ctx, on); err != nil || o.Refused {
			return err
		}
	}
	if alone {
		one := []string{o.Name}
		if err := s.admit(ctx, one); err != nil || o.Refused {
			return err
		}
		g, ok, err := s.b.Time(ctx, []string{}, one)
		if err != nil {
			return err
		}
		if ok {
			o.Alone = &g
		}
	}
	g, ok, err := s.b.Time(ctx, s.but(o.Name), s.and(o.Name))
	if err != nil || !ok {
		return err
	}
	o.Gain, o.Verdict, o.With = &g, g.Verdict(), s.but(o.Name)
	s.on[o.Name] = o.Stays()
	return nil
}

// confirm times what was chosen against what was on at first.
func (s *search) confirm(ctx context.Context, done func(*Outcome) error) (*Result, error) {
	r := s.so()
	first := []string{}
	for _, o := range s.list {
		if o.On && !o.Refused {
			first = append(first, o.Name)
		}
	}
	if slices.Equal(first, r.On) {
		return r, nil
	}
	if err := s.admit(ctx, r.On); err != nil {
		return r, err
	}
	r.On = s.names()
	g, ok, err := s.b.Time(ctx, first, r.On)
	if err != nil || !ok {
		return r, err
	}
	if r.Change = &g; g.Verdict() != Slower {
		return r, nil
	}
	for _, o := range s.list {
		if o.Stays() == o.On || o.Refused {
			continue
		}
		o.Verdict, s.on[o.Name] = Even, o.On
		if done != nil {
			if err := done(o); err != nil {
				return s.so(), err
			}
		}
	}
	r.On = s.names()
	return r, nil
}
