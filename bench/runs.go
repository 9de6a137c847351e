package bench

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// Run is one measurement of one of two ways.
type Run struct {
	Round   int     `json:"round"`
	B       bool    `json:"b" jsonschema:"of the second way: the rewritten program"`
	Seconds float64 `json:"seconds" jsonschema:"that the way itself measured"`
	At      float64 `json:"at" jsonschema:"seconds from the start of the measurement to the end of the run"`
}

// Turns runs a and b in rounds of A B B A. Each measures itself, so that what comes before
// what is timed, such as filling a cache, does not count. Rounds of the warm-up are not
// given to keep.
func Turns(ctx context.Context, o Options, a, b func() (seconds float64, err error), keep func(round int, b bool, seconds float64) error) error {
	for round := range o.WarmUp + o.Rounds {
		for i, f := range []func() (float64, error){a, b, b, a} {
			if err := ctx.Err(); err != nil {
				return err
			}
			seconds, err := f()
			if err != nil {
				return err
			}
			if round < o.WarmUp {
				continue
			}
			if err := keep(round-o.WarmUp, i == 1 || i == 2, seconds); err != nil {
				return err
			}
		}
	}
	return nil
}

// FewRounds is the number of rounds of which an interval says nothing yet: drawn from one, it
// has no width, from two, it misses the ratio half of the time.
const FewRounds = 2

// Side sums up the runs of one way.
type Side struct {
	N      int
	Mean   float64
	SD     float64 // of the sample; 0 for fewer than two
	Median float64
}

// Summary is a comparison of A and B over rounds.
type Summary struct {
	A, B      Side    // of what of makes of the seconds
	Rounds    int     // that have both
	Ratio     float64 // A's time over B's: above 1, B is faster; median over rounds
	Low, High float64 // 95 % interval of the ratio, by bootstrap over rounds
}

// Summarise sums up runs; of turns seconds into what the sides are to be told in, such as
// tokens a second. Rounds that lack a side count for the sides and not for the ratio.
func Summarise(runs []Run, of func(seconds float64) float64) Summary {
	var s Summary
	var sides [2][]float64
	for _, r := range runs {
		side := 0
		if r.B {
			side = 1
		}
		sides[side] = append(sides[side], of(r.Seconds))
	}
	s.A, s.B = sideOf(sides[0]), sideOf(sides[1])
	ratios := Ratios(runs)
	if s.Rounds = len(ratios); s.Rounds > 0 {
		s.Ratio = Median(ratios)
		s.Low, s.High = Interval(ratios)
	}
	return s
}

// Ratios are the ratios of the rounds that have both sides: of the geometric means of their
// times.
func Ratios(runs []Run) []float64 {
	type sums struct {
		log [2]float64
		n   [2]int
	}
	var rounds []*sums
	for _, r := range runs {
		side := 0
		if r.B {
			side = 1
		}
		for len(rounds) <= r.Round {
			rounds = append(rounds, &sums{})
		}
		rounds[r.Round].log[side] += math.Log(r.Seconds)
		rounds[r.Round].n[side]++
	}
	var ratios []float64
	for _, r := range rounds {
		if r.n[0] > 0 && r.n[1] > 0 {
			ratios = append(ratios, math.Exp(r.log[0]/float64(r.n[0])-r.log[1]/float64(r.n[1])))
		}
	}
	return ratios
}

func sideOf(list []float64) Side {
	s := Side{N: len(list)}
	if s.N == 0 {
		return s
	}
	for _, x := range list {
		s.Mean += x / float64(s.N)
	}
	for _, x := range list {
		s.SD += (x - s.Mean) * (x - s.Mean)
	}
	if s.N > 1 {
		s.SD = math.Sqrt(s.SD / float64(s.N-1))
	} else {
		s.SD = 0
	}
	s.Median = Median(list)
	return s
}

// Group compares A and B over several measurements, as one: the geometric mean of their
// ratios. The interval draws rounds of each measurement anew, as Interval does.
func Group(measurements [][]Run) (ratio, low, high float64, ok bool) {
	var all [][]float64
	for _, runs := range measurements {
		if list := Ratios(runs); len(list) > 0 {
			all = append(all, list)
		}
	}
	if len(all) == 0 {
		return 0, 0, 0, false
	}
	mean := func(draw func([]float64) float64) float64 {
		sum := 0.0
		for _, list := range all {
			sum += math.Log(draw(list))
		}
		return math.Exp(sum / float64(len(all)))
	}
	ratio = mean(Median)
	r := rand.New(rand.NewPCG(1, 1))
	means := make([]float64, resamples/10)
	for i := range means {
		means[i] = mean(func(list []float64) float64 {
			draw := make([]float64, len(list))
			for k := range draw {
				draw[k] = list[r.IntN(len(list))]
			}
			return Median(draw)
		})
	}
	slices.Sort(means)
	return ratio, means[len(means)/40], means[len(means)-1-len(means)/40], true
}

// Quotient is the median of after over that of before, with the 95 % interval by bootstrap:
// the two were measured apart, so each is drawn on its own. Neither may be empty.
func Quotient(before, after []float64) (q, low, high float64) {
	r := rand.New(rand.NewPCG(1, 1))
	draw := func(list []float64) float64 {
		out := make([]float64, len(list))
		for i := range out {
			out[i] = list[r.IntN(len(list))]
		}
		return Median(out)
	}
	all := make([]float64, resamples)
	for i := range all {
		all[i] = draw(after) / draw(before)
	}
	slices.Sort(all)
	return Median(after) / Median(before), all[resamples/40], all[resamples-1-resamples/40]
}
