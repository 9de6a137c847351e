package replay

import (
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
)

// perStep are the symbols that have another value in each step. All others belong to a
// script: when one changes, another script is made.
var perStep = []string{graph.SymKVLen, graph.SymWindowLen}

// inText reports whether a number is a constant of a kernel's text, so that its loops
// unroll. Others come at run time: compiling a text for each capacity of a cache would take
// longer than it saves.
func inText(d graph.Dim) bool {
	return !slices.ContainsFunc(d.Symbols(nil), func(s string) bool { return s != graph.SymBatch })
}

func changes(d graph.Dim) bool {
	return slices.ContainsFunc(d.Symbols(nil), func(s string) bool { return slices.Contains(perStep, s) })
}

// kind says what memory a buffer is.
type kind int

const (
	temporary kind = iota // a part of the arena
	parameter
	constant
	staged // a part of the block that is written in each step
	copied // an input that is copied into memory of the script
	state  // an input that the step gives back, in its own memory
)

type buffer struct {
	kind   kind
	name   string // of a parameter or an input
	data   []byte // of a constant
	size   int64
	first  int // launch that writes it, and the last that reads it; of temporary ones
	last   int
	offset int64     // in the arena or the block
	over   []*buffer // temporary ones that had some of its place before
	addr   Address
}

// ref is an operand of a launch.
type ref struct {
	*buffer
	offset int64 // bytes
}

func (r ref) address() Address { return r.addr + Address(r.offset) }

// numbers are the integers of calls that are alike, with one place in the block.
type numbers struct {
	spec     *kernels.Spec
	dims     []graph.Dim
	at       int64 // in the block; of those that are not in the text
	last     []int64
	geometry kernels.Geometry
	users    []int // launches
}

// step is a launch while addresses are not known: a kernel, or moves that do not depend on
// each other, or both.
type step struct {
	source         *Source
	numbers        *numbers
	operands, made []ref // of the kernel
	first          []ref // operands that it may read early
	in, out        []ref // of the kernel and the moves
	moves          []movement
	after          []int // launches that it has to wait for, but for those that they wait for
}

// movement is a move while addresses are not known.
type movement struct {
	*Move
	node     *graph.Node // the concatenation that it is a part of, or nil
	from, to ref
	at       *buffer // of Move.At
	rows     *ref    // of Move.Rows
}

// result is an output of the case.
type result struct {
	name  string
	place place
	shape []int
	// home is the input whose memory holds it when the step is over, or nil: it is then
	// copied to memory of its own.
	home *buffer
}

// script is a case for fixed values of all symbols but those of perStep.
type script struct {
	c       *graph.Case
	steps   []step
	buffers []*buffer
	inputs  map[string]*buffer
	results []result
	block   int64 // bytes of the block that each step writes
	arena   int64
	numbers []*numbers
	checks  []check
	indices []indices
	counts  map[string]int // launches of each kernel
}

// check is a position that must leave room for rows in a cache.
type check struct {
	offset string // the input
	rows   int64
	room   int64
	scope  string
}

// indices are numbers of the host that choose rows of a table.
type indices struct {
	input string
	rows  int64
}

// refusal is why a case cannot be replayed.
func refusal(n *graph.Node, format string, args ...any) error {
	i := diag.Errorf("replay/op", diag.Pos{}, format, args...)
	if n != nil {
		return i.WithScope(n.Scope)
	}
	return i
}

// staticKey is the values of the symbols that a script is made for.
func staticKey(env map[string]int64) string {
	var b strings.Builder
	names := make([]string, 0, len(env))
	for s := range env {
		if !slices.Contains(perStep, s) {
			names = append(names, s)
		}
	}
	slices.Sort(names)
	for _, s := range names {
		fmt.Fprintf(&b, "%s=%d ", s, env[s])
	}
	return b.String()
}

// dynamic returns those of a call's integers that are not in its text.
func (n *numbers) dynamic(ints []int64) []int64 {
	var out []int64
	for i, d := range n.dims {
		if !inText(d) {
			out = append(out, ints[i])
		}
	}
	return out
}
