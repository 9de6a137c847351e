package bench

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		list []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}, {[]float64{1, 2, 3, 100}, 2.5}} {
		if got := Median(c.list); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.list, got, c.want)
		}
	}
}

// TestInterval: the interval holds the median, narrows with more of the same, and is
// the same every time.
func TestInterval(t *testing.T) {
	few := []float64{0.9, 1.0, 1.1, 1.2, 0.8}
	var many []float64
	for range 20 {
		many = append(many, few...)
	}
	low, high := Interval(few)
	if low > 1 || high < 1 || low == high {
		t.Errorf("[%v, %v] does not hold 1", low, high)
	}
	nl, nh := Interval(many)
	if nh-nl >= high-low {
		t.Errorf("[%v, %v] of 100 values is no narrower than [%v, %v] of 5", nl, nh, low, high)
	}
	if l, h := Interval(few); l != low || h != high {
		t.Error("the same list gave another interval")
	}
}

// TestCompare counts the runs and finds which of two is slower.
func TestCompare(t *testing.T) {
	var order []byte
	a := func() error { order = append(order, 'A'); time.Sleep(4 * time.Millisecond); return nil }
	b := func() error { order = append(order, 'B'); time.Sleep(time.Millisecond); return nil }
	r, err := Compare(context.Background(), Options{Rounds: 3, WarmUp: 1}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if string(order) != "ABBAABBAABBAABBA" || len(r.A) != 6 || len(r.B) != 6 {
		t.Errorf("runs %s, %d and %d that count", order, len(r.A), len(r.B))
	}
	if r.Low <= 1 || r.Ratio <= 1 {
		t.Errorf("A sleeps four times as long, ratio %v [%v, %v]", r.Ratio, r.Low, r.High)
	}
	bad := errors.New("no")
	if _, err := Compare(context.Background(), Options{}, a, func() error { return bad }); err != bad {
		t.Errorf("error %v", err)
	}
}
