package proof

import (
	"maps"
	"slices"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/rules"
)

// At returns the instance of a match in one case of a program.
func At(p *graph.Program, c *graph.Case, m *matcher.Match, where string) (*Instance, error) {
	s := m.Sample(c.Graph)
	return newInstance(m.Pattern, s, c.When, where, paramsOf(p, c.Graph, m, s))
}

// maxSmall is how long dimensions may be that Smaller leaves alone, and minSmall how long
// they stay.
const (
	maxSmall = 64
	minSmall = 32
)

// Smaller returns the instance with shorter dimensions, as far as the rule still applies:
// what a proof computes does not depend on them, but on how many there are. Dimensions that
// differ go on to do so.
func Smaller(set *rules.Set, in *Instance) *Instance {
	numbers := in.numbers()
	tied := in.tied()
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(numbers))) {
		if n <= maxSmall {
			continue
		}
		for f := n / minSmall; f > 1; f-- {
			if n%f != 0 || numbers[n/f] {
				continue
			}
			changes := []map[int64]int64{{n: n / f}}
			if together, ok := scaled(tied[n], f); ok {
				changes = append(changes, together)
			}
			if small := in.firstThatApplies(set, changes); small != nil {
				in = small
				numbers, tied = in.numbers(), in.tied()
				break
			}
		}
	}
	return in
}

func (in *Instance) firstThatApplies(set *rules.Set, changes []map[int64]int64) *Instance {
	for _, by := range changes {
		for _, vars := range []bool{true, false} {
			s := substitute(in.Sample, by, vars)
			if s == nil {
				continue
			}
			small, err := newInstance(in.Pattern, s, in.When, in.Where, retype(in.Program.Params, s))
			if err == nil && small.applies(set) {
				return small
			}
		}
	}
	return nil
}

// numbers are the lengths of inputs and parameters that are numbers above 1.
func (in *Instance) numbers() map[int64]bool {
	all := map[int64]bool{}
	for _, t := range in.Sample.Types {
		for _, d := range t.Shape {
			if n, ok := d.Const(); ok && n > 1 {
				all[n] = true
			}
		}
	}
	return all
}

// tied gives, for a length of a quantized matrix, those that change with it: of its packed
// rows, its scales, and the rows that it is multiplied by.
func (in *Instance) tied() map[int64][]int64 {
	tied := map[int64][]int64{}
	byQuant := map[*graph.Quant]map[string]graph.Type{}
	for _, q := range in.Program.Params {
		if q.Quant != nil {
			if byQuant[q.Quant] == nil {
				byQuant[q.Quant] = map[string]graph.Type{}
			}
			byQuant[q.Quant][q.Part] = q.Type
		}
	}
	for quant, parts := range byQuant {
		packed, ok1 := lastDim(parts["weight"])
		groups, ok2 := lastDim(parts["scales"])
		if !ok1 || !ok2 {
			continue
		}
		long := groups * int64(quant.GroupSize)
		for _, n := range []int64{packed, groups, long} {
			tied[n] = append(tied[n], packed, groups, long)
		}
	}
	return tied
}

// scaled divides lengths that change together, if all can be divided.
func scaled(tied []int64, by int64) (map[int64]int64, bool) {
	out := map[int64]int64{}
	for _, n := range tied {
		if n%by != 0 {
			return nil, false
		}
		out[n] = n / by
	}
	return out, len(tied) > 0
}

func lastDim(t graph.Type) (int64, bool) {
	d, ok := t.Dim(-1)
	if !ok {
		return 0, false
	}
	n, ok := d.Const()
	return n, ok
}
