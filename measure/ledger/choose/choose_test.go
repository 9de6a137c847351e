package choose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// machine is a Bench whose times are written down: a plan takes 100, times the factor of
// each rule that does something in it.
type machine struct {
	factor map[string]float64
	hidden map[string]string // rule -> the rule that has its places if it is on
	noise  float64           // half the width of intervals
	wrong  map[string]bool   // refused wherever they do something
	timed  []string
	pairs  map[string]float64 // of two rules that are both on: "a b"
}

func (m *machine) does(on []string) map[string]bool {
	out := map[string]bool{}
	for _, r := range on {
		if by, ok := m.hidden[r]; !ok || !slices.Contains(on, by) {
			out[r] = true
		}
	}
	return out
}

func (m *machine) time(on []string) float64 {
	t, does := 100.0, m.does(on)
	for r := range does {
		t *= m.factor[r]
	}
	for pair, f := range m.pairs {
		if a, b, _ := strings.Cut(pair, " "); does[a] && does[b] {
			t *= f
		}
	}
	return t
}

func (m *machine) Check(_ context.Context, on []string) ([]string, error) {
	var list []string
	for r := range m.does(on) {
		if m.wrong[r] {
			list = append(list, r)
		}
	}
	return list, nil
}

func (m *machine) Time(_ context.Context, without, with []string) (Gain, bool, error) {
	if maps.Equal(m.does(without), m.does(with)) {
		return Gain{}, false, nil
	}
	for _, on := range [][]string{without, with} {
		for r := range m.does(on) {
			if m.wrong[r] {
				return Gain{}, false, fmt.Errorf("%s was timed, and it is wrong", r)
			}
		}
	}
	m.timed = append(m.timed, strings.Join(without, "+")+" / "+strings.Join(with, "+"))
	q := m.time(without) / m.time(with)
	return Gain{q, q - m.noise, q + m.noise, 5}, true, nil
}

func TestSearch(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules string // with - in front: off
		m     machine
		want  string // rules that are on in the end
		say   string // rule:verdict of those with one, and refused ones
	}{
		{"what pays stays, what does not goes", "a b", machine{factor: map[string]float64{"a": 0.5, "b": 1.5}}, "a", "a:faster b:slower"},
		{"what is off is tried", "-a -b", machine{factor: map[string]float64{"a": 0.5, "b": 1.5}}, "a", "a:faster b:slower"},
		{"an interval that holds 1 changes nothing", "a -b", machine{factor: map[string]float64{"a": 1.1, "b": 0.9}, noise: 0.2}, "a", "a:even b:even"},
		{"a rule that is hidden gets its turn when the other is dropped", "a b", machine{factor: map[string]float64{"a": 1.5, "b": 0.5}, hidden: map[string]string{"b": "a"}}, "b", "a:slower b:faster"},
		{"it may have had its turn before", "b a", machine{factor: map[string]float64{"a": 1.5, "b": 0.5}, hidden: map[string]string{"b": "a"}}, "b", "a:slower b:faster"},
		{"and stays as it was if the other pays", "b a", machine{factor: map[string]float64{"a": 0.3, "b": 0.5}, hidden: map[string]string{"b": "a"}}, "b a", "a:faster"},
		{"with against without counts what takes its place", "a b", machine{factor: map[string]float64{"a": 0.8, "b": 0.5}, hidden: map[string]string{"b": "a"}}, "b", "a:slower b:faster"},
		{"what is wrong is not timed", "a b", machine{factor: map[string]float64{"a": 0.1, "b": 0.5}, wrong: map[string]bool{"a": true}}, "b", "a:refused b:faster"},
		{"nor what is wrong where another was", "a b", machine{factor: map[string]float64{"a": 1.5, "b": 0.1}, hidden: map[string]string{"b": "a"}, wrong: map[string]bool{"b": true}}, "", "a:slower b:refused"},
		{"nor what is off and wrong", "a -b", machine{factor: map[string]float64{"a": 0.5, "b": 0.1}, wrong: map[string]bool{"b": true}}, "a", "a:faster b:refused"},
		{"a rule that does nothing is not judged", "a b", machine{factor: map[string]float64{"a": 0.5, "b": 0.5}, hidden: map[string]string{"b": "b"}}, "a b", "a:faster"},
		{"beside the others counts, not alone", "a b", machine{factor: map[string]float64{"a": 0.5, "b": 0.9}, pairs: map[string]float64{"a b": 1.5}}, "a", "a:faster b:slower"},
	} {
		var rules []Rule
		for _, r := range strings.Fields(c.rules) {
			name := strings.TrimPrefix(r, "-")
			rules = append(rules, Rule{Name: name, On: name == r})
		}
		told := map[string]bool{}
		res, err := Search(context.Background(), rules, &c.m, true, func(o *Outcome) error { told[o.Name] = true; return nil })
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := strings.Join(res.On, " "); got != c.want {
			t.Errorf("%s: on in the end: %q, want %q (timed %q)", c.name, got, c.want, c.m.timed)
		}
		var say []string
		for _, o := range res.Outcomes {
			switch {
			case o.Refused:
				say = append(say, o.Name+":refused")
			case o.Verdict != "":
				say = append(say, o.Name+":"+string(o.Verdict))
				if !told[o.Name] {
					t.Errorf("%s: nobody was told of %s", c.name, o.Name)
				}
			}
		}
		slices.Sort(say)
		if got := strings.Join(say, " "); got != c.say {
			t.Errorf("%s: %q, want %q (timed %q)", c.name, got, c.say, c.m.timed)
		}
		for _, r := range res.On {
			if c.m.wrong[r] {
				t.Errorf("%s: %s is on, and it is wrong", c.name, r)
			}
		}
	}
}

// TestAlone: each rule is also timed against no rules, once.
func TestAlone(t *testing.T) {
	m := machine{factor: map[string]float64{"a": 0.5, "b": 0.8}, pairs: map[string]float64{"a b": 2}}
	res, err := Search(context.Background(), []Rule{{Name: "a", On: true}, {Name: "b", On: true}}, &m, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{" / a", "b / a+b", " / b", " / b"}
	if !slices.Equal(m.timed[:3], want[:3]) {
		t.Errorf("timed %q", m.timed)
	}
	a, b := res.Outcomes[0], res.Outcomes[1]
	if a.Alone == nil || a.Alone.Ratio != 2 || a.Gain.Ratio != 1 || a.Verdict != Even || !slices.Equal(a.With, []string{"b"}) {
		t.Errorf("a: %+v", a)
	}
	if b.Alone == nil || b.Alone.Ratio != 1.25 || b.Gain.Ratio >= 1 || b.Verdict != Slower {
		t.Errorf("b: %+v", b)
	}
	if res.Change == nil || res.Change.Ratio != 1.6 {
		t.Errorf("change %+v", res.Change)
	}
}

// TestNotAlone: without alone, plans are timed beside the others only.
func TestNotAlone(t *testing.T) {
	m := machine{factor: map[string]float64{"a": 0.5, "b": 0.8}}
	res, err := Search(context.Background(), []Rule{{Name: "a", On: true}, {Name: "b", On: true}}, &m, false, nil)
	if want := []string{"b / a+b", "a / a+b"}; err != nil || !slices.Equal(m.timed, want) || res.Outcomes[0].Alone != nil {
		t.Errorf("timed %q, %v", m.timed, err)
	}
}

// later is a machine that is slow when what was chosen is timed against what was there.
type later struct {
	machine
	bad string
}

func (l *later) Time(ctx context.Context, without, with []string) (Gain, bool, error) {
	if strings.Join(without, "+")+" / "+strings.Join(with, "+") == l.bad {
		return Gain{0.5, 0.4, 0.6, 5}, true, nil
	}
	return l.machine.Time(ctx, without, with)
}

// TestConfirm: if what was chosen turns out to be slower than what was there, all is as it
// was, and no verdict is left that says otherwise.
func TestConfirm(t *testing.T) {
	l := &later{machine{factor: map[string]float64{"a": 1.5, "b": 0.5}}, "a / b"}
	told := map[string]Verdict{}
	res, err := Search(context.Background(), []Rule{{Name: "a", On: true}, {Name: "b", On: false}}, l, true, func(o *Outcome) error { told[o.Name] = o.Verdict; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(res.On, []string{"a"}) || told["a"] != Even || told["b"] != Even || res.Change.Verdict() != Slower {
		t.Errorf("on %q, told %v, change %v", res.On, told, res.Change)
	}
}

// TestErrors: what fails ends the search, and a check that refuses what it was not asked
// about does not go on for ever.
func TestErrors(t *testing.T) {
	bad := errors.New("no")
	m := &machine{factor: map[string]float64{"a": 0.5}}
	if _, err := Search(context.Background(), []Rule{{Name: "a", On: true}}, m, true, func(*Outcome) error { return bad }); err != bad {
		t.Errorf("error %v", err)
	}
	if _, err := Search(context.Background(), []Rule{{Name: "a", On: true}}, stranger{m}, true, nil); err == nil {
		t.Error("a rule that nobody asked about was refused, and nothing was said")
	}
}

// TestKeep: what is to be kept is in plans, or not, as it is, and is not timed.
func TestKeep(t *testing.T) {
	m := machine{factor: map[string]float64{"a": 0.5, "b": 2, "c": 2, "d": 0.5}}
	list := []Rule{{Name: "a", On: true, Keep: true}, {Name: "b", Keep: true}, {Name: "c", On: true, Keep: true}, {Name: "d", On: true}}
	told := 0
	res, err := Search(context.Background(), list, &m, true, func(*Outcome) error { told++; return nil })
	if err != nil || told != 1 || !slices.Equal(res.On, []string{"a", "c", "d"}) || res.Outcomes[2].Verdict != "" || !slices.Equal(m.timed, []string{" / d", "a+c / a+c+d"}) {
		t.Errorf("on %v, told %d times, timed %q, %v", res, told, m.timed, err)
	}
}

// TestInterrupted: what was found before an error is there.
func TestInterrupted(t *testing.T) {
	m := &machine{factor: map[string]float64{"a": 1.5, "b": 0.5}}
	bad, n := errors.New("no"), 0
	res, err := Search(context.Background(), []Rule{{Name: "a", On: true}, {Name: "b", On: true}}, m, false, func(*Outcome) error {
		if n++; n == 2 {
			return bad
		}
		return nil
	})
	if err != bad || !slices.Equal(res.On, []string{"b"}) || res.Outcomes[0].Verdict != Slower {
		t.Errorf("%+v, %v", res, err)
	}
}

type stranger struct{ *machine }

func (stranger) Check(context.Context, []string) ([]string, error) { return []string{"z"}, nil }
