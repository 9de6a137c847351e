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
