package replay

import (
	"slices"
	"testing"
)

// Moves meet in one launch where nothing stands between them that they have to be on the same
// side of, and nowhere else.
func TestTogether(t *testing.T) {
	a, b, c, d, e := &buffer{name: "a"}, &buffer{name: "b"}, &buffer{name: "c"}, &buffer{name: "d"}, &buffer{name: "e"}
	move := func(to, from *buffer) step {
		return step{moves: []movement{{Move: &Move{}, from: ref{buffer: from}, to: ref{buffer: to}}}, in: []ref{{buffer: from}}, out: []ref{{buffer: to}}}
	}
	kernel := func(out *buffer, in ...*buffer) step {
		s := step{source: &Source{}, numbers: &numbers{}, made: []ref{{buffer: out}}}
		for _, x := range in {
			s.operands = append(s.operands, ref{buffer: x})
		}
		s.in, s.out = s.operands, s.made
		return s
	}
	for _, x := range []struct {
		name  string
		steps []step
		want  []int // moves of each launch, 0 for a kernel
	}{
		{"side by side", []step{move(b, a), move(d, c)}, []int{2}},
		{"one reads what the other writes", []step{move(b, a), move(c, b)}, []int{1, 1}},
		{"one writes what the other reads", []step{move(b, a), move(a, c)}, []int{1, 1}},
		{"both write to one", []step{move(b, a), move(b, c)}, []int{1, 1}},
		{"over a kernel that has nothing to do with it", []step{move(b, a), kernel(e, b), move(d, c)}, []int{2, 0}},
		{"the second needs the kernel, the first can wait", []step{move(b, a), kernel(d, c), move(e, d)}, []int{0, 2}},
		{"the kernel stands between", []step{move(b, a), kernel(d, b), move(e, d)}, []int{1, 0, 1}},
		{"the kernel reads what the second overwrites", []step{move(b, a), kernel(d, b, c), move(c, e)}, []int{1, 0, 1}},
	} {
		m := &maker{script: &script{steps: x.steps}}
		m.together()
		var got []int
		for i, s := range m.steps {
			got = append(got, len(s.moves))
			if s.numbers != nil && !slices.Equal(s.numbers.users, []int{i}) {
				t.Errorf("%s: the kernel is launch %d, and %v is noted", x.name, i, s.numbers.users)
			}
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %v moves, want %v", x.name, got, x.want)
		}
	}
	var many []step
	for range MostMoves + 1 {
		many = append(many, move(&buffer{}, &buffer{}))
	}
	if got := gathered(many); len(got) != 2 || len(got[0].moves) != MostMoves {
		t.Errorf("%d moves are %d launches", MostMoves+1, len(got))
	}
}
