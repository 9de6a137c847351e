package bench

import (
	"context"
	"math"
	"testing"
)

// TestTurns: the ways are called A B B A, what they say is kept, the warm-up is not.
func TestTurns(t *testing.T) {
	var order []byte
	way := func(name byte, seconds float64) func() (float64, error) {
		return func() (float64, error) { order = append(order, name); return seconds, nil }
	}
	var runs []Run
	err := Turns(context.Background(), Options{Rounds: 2, WarmUp: 1}, way('A', 6), way('B', 2), func(round int, b bool, s float64) error {
		runs = append(runs, Run{Round: round, B: b, Seconds: s})
		return nil
	})
	if err != nil || string(order) != "ABBAABBAABBA" || len(runs) != 8 {
		t.Fatalf("%s, %d runs, %v", order, len(runs), err)
	}
	s := Summarise(runs, func(sec float64) float64 { return 12 / sec })
	if s.A.Mean != 2 || s.B.Mean != 6 || s.A.N != 4 || math.Abs(s.Ratio-3) > 1e-12 || s.Rounds != 2 {
		t.Errorf("%+v", s)
	}
}

// TestSummarise: standard deviation of the sample, the ratio by rounds (a machine that
// slows down between rounds changes none), and a round without a partner left out.
func TestSummarise(t *testing.T) {
	runs := []Run{{Round: 0, Seconds: 4}, {Round: 0, B: true, Seconds: 2}, {Round: 1, Seconds: 40}, {Round: 1, B: true, Seconds: 20}, {Round: 2, Seconds: 1}}
	s := Summarise(runs, func(x float64) float64 { return x })
	if s.Rounds != 2 || math.Abs(s.Ratio-2) > 1e-12 || math.Abs(s.Low-2) > 1e-12 || math.Abs(s.High-2) > 1e-12 {
		t.Errorf("ratio %+v", s)
	}
	if s.A.N != 3 || s.A.Median != 4 || math.Abs(s.A.Mean-15) > 1e-12 || math.Abs(s.A.SD-math.Sqrt((121+625+196)/2.0)) > 1e-9 {
		t.Errorf("A %+v", s.A)
	}
	if one := Summarise(runs[:1], func(x float64) float64 { return x }); one.Rounds != 0 || one.Ratio != 0 || one.A.SD != 0 {
		t.Errorf("one run: %+v", one)
	}
}

// TestGroup: the geometric mean of several ratios; measurements without a round do not count.
func TestGroup(t *testing.T) {
	runs := func(ratio float64) []Run {
		return []Run{{Round: 0, Seconds: ratio}, {Round: 0, B: true, Seconds: 1}, {Round: 1, Seconds: ratio}, {Round: 1, B: true, Seconds: 1}}
	}
	ratio, low, high, ok := Group([][]Run{runs(2), runs(8), nil})
	if !ok || math.Abs(ratio-4) > 1e-12 || math.Abs(low-4) > 1e-12 || math.Abs(high-4) > 1e-12 {
		t.Errorf("%v [%v, %v], %v", ratio, low, high, ok)
	}
	if _, _, _, ok := Group([][]Run{nil}); ok {
		t.Error("nothing has a ratio")
	}
}

// TestQuotient: noise of both sides widens the interval; what is the same gives one that holds 1.
func TestQuotient(t *testing.T) {
	noisy := []float64{0.8, 1, 1.2, 0.9, 1.1}
	if q, low, high := Quotient(noisy, noisy); q != 1 || low >= 1 || high <= 1 {
		t.Errorf("%v [%v, %v]", q, low, high)
	}
	steady := []float64{1, 1, 1, 1, 1}
	if q, low, high := Quotient(steady, []float64{0.5, 0.5, 0.5}); q != 0.5 || low != 0.5 || high != 0.5 {
		t.Errorf("%v [%v, %v]", q, low, high)
	}
	_, l1, h1 := Quotient(steady, noisy)
	_, l2, h2 := Quotient(noisy, noisy)
	if h2-l2 <= h1-l1 {
		t.Errorf("[%v, %v] with noise on both sides is no wider than [%v, %v]", l2, h2, l1, h1)
	}
}
