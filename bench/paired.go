package bench

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Options are how a comparison is run. Zero fields take the defaults.
type Options struct {
	Rounds int // that count; 10
	WarmUp int // rounds thrown away; 2
	// OnRound is told how many rounds are over, of how many, before each; nil for nobody. It is not timed.
	OnRound func(done, all int)
}

// Result is a comparison of A and B.
type Result struct {
	A, B  []time.Duration // every run that counts, in order: two of each a round
	Ratio float64         // A's time over B's: above 1, B is faster; median over rounds
	Low   float64         // 95 % interval of the ratio, by bootstrap over rounds
	High  float64
}

// Compare runs a and b in turns. An error of either ends it.
func Compare(ctx context.Context, o Options, a, b func() error) (*Result, error) {
	if o.Rounds == 0 {
		o.Rounds = 10
	}
	if o.WarmUp == 0 {
		o.WarmUp = 2
	}
	r := &Result{}
	var ratios []float64
	for round := range o.WarmUp + o.Rounds {
		if o.OnRound != nil {
			o.OnRound(round, o.WarmUp+o.Rounds)
		}
		var times [4]time.Duration
		for i, f := range []func() error{a, b, b, a} {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			start := time.Now()
			if err := f(); err != nil {
				return nil, err
			}
			times[i] = time.Since(start)
		}
		if round < o.WarmUp {
			continue
		}
		r.A = append(r.A, times[0], times[3])
		r.B = append(r.B, times[1], times[2])
		ratios = append(ratios, math.Sqrt(float64(times[0])*float64(times[3])/(float64(times[1])*float64(times[2]))))
	}
	r.Ratio = Median(ratios)
	r.Low, r.High = Interval(ratios)
	return r, nil
}

// Median returns the middle of a list, which must not be empty.
func Median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// MedianTime returns the median of durations.
func MedianTime(list []time.Duration) time.Duration {
	v := make([]float64, len(list))
	for i, d := range list {
		v[i] = float64(d)
	}
	return time.Duration(Median(v))
}

// resamples is how often the bootstrap draws; its seed is fixed, so that the same runs
// give the same interval.
const resamples = 10000

// Interval returns the 95 % interval of the median, by percentile bootstrap (Efron 1979).
func Interval(list []float64) (low, high float64) {
	r := rand.New(rand.NewPCG(1, 1))
	medians, draw := make([]float64, resamples), make([]float64, len(list))
	for i := range medians {
		for k := range draw {
			draw[k] = list[r.IntN(len(list))]
		}
		medians[i] = Median(draw)
	}
	slices.Sort(medians)
	return medians[resamples/40], medians[resamples-1-resamples/40]
}
