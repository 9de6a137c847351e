package figures

import (
	"fmt"
	"maps"
	"slices"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/measure/capsule"
)

// What a gate says of a test besides the verdicts of its series.
const (
	Differs = "differs" // the rewritten program made other tokens
	Missing = "missing" // the version before has the test, the newest has not
)

// Judged is a test of the newest version of a model, profile and device.
type Judged struct {
	Series  // without points
	Verdict string
	Why     string // the figures that it stands on
	Change  *Change
	// Few: the newest capsule has too few rounds for an interval, so that nothing is known.
	Few bool
}

// Judge holds each test of the newest version against the version before it. A test that has
// no earlier capsule is not judged, unless there is something wrong with it by itself. Tests
// that neither of the two versions has are left alone: nobody measures them any more.
func Judge(all []Named, metric string, threshold float64) []Judged {
	series := map[string]*Series{}
	matrix := Matrix(all, metric)
	for i := range matrix {
		series[matrix[i].key()] = &matrix[i]
	}
	// Bench and stress have tests of their own, so each is a group by itself.
	type group struct{ model, profile, device, kind string }
	groups := map[group][]*Named{}
	var order []group
	sorted := byAge(all)
	for i := range sorted {
		n := &sorted[i]
		s := seriesOf(n, &capsule.Cell{})
		g := group{s.Model, s.Profile, s.Device, n.Kind}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], n)
	}
	var out []Judged
	for _, g := range order {
		list := groups[g]
		newest, rest := newestVersion(list)
		before, _ := newestVersion(rest)
		now := len(out)
		find := func(test string) *Judged {
			if i := slices.IndexFunc(out[now:], func(j Judged) bool { return j.Test == test }); i >= 0 {
				return &out[now+i]
			}
			return nil
		}
		for _, n := range newest {
			for k := range n.Cells {
				j := judge(n, &n.Cells[k], series, metric, threshold)
				if old := find(j.Test); old == nil {
					out = append(out, j)
				} else if old.Verdict != Differs { // that does not heal by being measured again
					*old = j
				}
			}
		}
		for _, n := range before {
			for k := range n.Cells {
				one := seriesOf(n, &n.Cells[k])
				if find(one.Test) == nil {
					why := fmt.Sprintf("is in %s and not in %s", n.File, newest[len(newest)-1].File)
					out = append(out, Judged{Series: one, Verdict: Missing, Why: why})
				}
			}
		}
	}
	return slices.DeleteFunc(out, func(j Judged) bool { return j.Verdict == Alone })
}

// judge says what the newest capsule of a test is worth.
func judge(n *Named, cell *capsule.Cell, series map[string]*Series, metric string, threshold float64) Judged {
	j := Judged{Series: seriesOf(n, cell)}
	rounds := cell.Summary().Rounds
	switch s := series[j.key()]; {
	case !cell.Identical():
		j.Verdict, j.Why = Differs, fmt.Sprintf("the rewritten program made other tokens (%s)", n.File)
	case rounds <= bench.FewRounds:
		j.Verdict, j.Few, j.Why = Unclear, true, fmt.Sprintf("too few rounds for an interval: %d (%s)", rounds, n.File)
	default: // what has enough rounds is in the matrix
		j.Verdict = s.Verdict(threshold)
		if last := len(s.Points) - 1; j.Verdict != Alone {
			j.Change = s.Points[last].Change
			j.Why = fmt.Sprintf("%s × the %s of before (%s against %s)", s.Points[last].Change, metric, s.Points[last].Capsule, s.Points[last-1].Capsule)
		}
	}
	return j
}

// newestVersion cuts a list, oldest first, before the capsules of its newest version.
func newestVersion(list []*Named) (newest, rest []*Named) {
	i := len(list) - 1
	for i > 0 && sameVersion(list[i-1], list[i]) {
		i--
	}
	return list[max(i, 0):], list[:max(i, 0)]
}

// sameVersion reports whether two capsules are sure to be of one binary, MLX, library of kernels
// and rewrite. Of a binary that does not know its commit, or was built from a changed checkout,
// nothing is sure.
func sameVersion(a, b *Named) bool {
	p := a.Program
	return p.Revision != "" && !p.Modified && p == b.Program && a.Device.Version == b.Device.Version && a.Device.Library == b.Device.Library &&
		a.Rewrite.After == b.Rewrite.After && quantizedAfter(a) == quantizedAfter(b) && maps.Equal(a.Rewrite.Kernels, b.Rewrite.Kernels)
}

// quantizedAfter is the hash of the rewritten program with a quantized cache, if there is one.
func quantizedAfter(n *Named) string {
	if q := n.Rewrite.Quantized; q != nil {
		return q.After
	}
	return ""
}
