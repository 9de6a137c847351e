package capsule

import (
	"slices"
	"strings"
)

// Steps is one pair of programs whose decode steps ran.
type Steps struct {
	Quantized    bool // with a quantized cache
	Launches     []Layer
	Replacements []Replacement
}

// Sum is what a step launches in all, before and after.
func (s Steps) Sum() (before, after int) {
	for _, l := range s.Launches {
		before += l.Before
		after += l.After
	}
	return before, after
}

// Ran are the programs that made a token in any cell. Those with a quantized cache are left
// out of capsules of versions that did not keep them.
func (r *Rewrite) Ran(cells []Cell) []Steps {
	plain, quantized := len(cells) == 0, false
	for i := range cells {
		a, b := r.kinds(&cells[i])
		plain, quantized = plain || a, quantized || b
	}
	var out []Steps
	if plain {
		out = append(out, r.steps(false))
	}
	if quantized {
		out = append(out, r.steps(true))
	}
	return out
}

// LastStep is the pair of programs that made the last token of a cell.
func (r *Rewrite) LastStep(cell *Cell) Steps {
	_, quantized := r.kinds(cell)
	return r.steps(quantized)
}

func (r *Rewrite) steps(quantized bool) Steps {
	if quantized {
		return Steps{true, r.Quantized.Launches, r.Quantized.Replacements}
	}
	return Steps{false, r.Launches, r.Replacements}
}

// kinds says which caches the steps of a cell found that made its tokens. A cache is quantized
// behind the first call that fills it up to the start.
func (r *Rewrite) kinds(cell *Cell) (plain, quantized bool) {
	found := func(rows int) bool {
		return r.Quantized != nil && r.KV != nil && rows > 0 && rows >= r.KV.Start
	}
	first := cell.Depth + cell.Fed - 1
	return !found(first), found(first + cell.Made - 1)
}

// Choice is which rules the command line asked for. Of capsules that do not say so apart, it
// is read from the command line that they have, with names as they were written there.
func (c *Capsule) Choice() Choice {
	if c.Rewrite.Choice != nil {
		return *c.Rewrite.Choice
	}
	var out Choice
	for i, arg := range c.Command {
		name, value, ok := strings.Cut(arg, "=")
		if !ok && i+1 < len(c.Command) {
			value = c.Command[i+1]
		}
		switch name {
		case "--only":
			out.Only = append(out.Only, value)
		case "--exclude":
			out.Exclude = append(out.Exclude, value)
		case "--force":
			out.Force = append(out.Force, value)
		case "--no-ledger":
			out.NoLedger = !ok || value != "false"
		}
	}
	for _, list := range [][]string{out.Only, out.Exclude, out.Force} {
		slices.Sort(list)
	}
	return out
}
