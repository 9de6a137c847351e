// Package stress is a long measurement that can be interrupted: kinds of prompts times
// lengths, some runs of each, unrewritten and rewritten in turns. It holds the prompts, the
// order of runs, and the state between two starts. It runs no model itself.
package stress

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/diag/outfile"
	"zmlx-rewrite/measure/capsule"
)

//go:embed prompts/*.txt
var texts embed.FS

// Kinds are the kinds of prompts, in the order in which they run.
var Kinds = []string{"technical", "chinese", "code", "math", "creative"}

// Lengths are the default numbers of tokens that are made.
var Lengths = []int{256, 1024, 2048}

// Runs is the default number of runs of each side.
const Runs = 5

// Prompt returns the text of a kind.
func Prompt(kind string) (string, bool) {
	if !slices.Contains(Kinds, kind) {
		return "", false
	}
	data, err := texts.ReadFile("prompts/" + kind + ".txt")
	if err != nil {
		panic(err) // it is embedded
	}
	return strings.TrimSpace(string(data)), true
}

// Cells are the combinations, all runs of one kind behind each other.
func Cells(kinds []string, lengths []int) []capsule.Cell {
	out := []capsule.Cell{}
	for _, k := range kinds {
		for _, n := range lengths {
			out = append(out, capsule.Cell{Test: fmt.Sprintf("%s/%d", k, n), Prompt: k, Made: n, Counted: n - 1, Runs: []capsule.Run{}, First: -1})
		}
	}
	return out
}

// State is a measurement under way.
type State struct {
	Runs    int              `json:"runs"` // of each side of each cell
	Capsule *capsule.Capsule `json:"capsule"`
	Routing bool             `json:"routing,omitempty"` // the experts of each cell are wanted, too
	Tokens  [][2][]int       `json:"tokens"`            // of the first run of each side of each cell

	file string
}

// Start begins a measurement, or goes on with the one whose state is in the file: if it is of
// the same weights, programs, machine, device, kernels and combinations. With routing, each cell is to have its
// routing, too.
func Start(file string, runs int, routing bool, c *capsule.Capsule) (*State, error) {
	s := &State{Runs: runs, Routing: routing, Capsule: c, Tokens: make([][2][]int, len(c.Cells)), file: file}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, s.save()
	}
	if err != nil {
		return nil, diag.Errorf("file/open", diag.Pos{File: file}, "%v", err)
	}
	var old State
	if err := json.Unmarshal(data, &old); err != nil || old.Capsule == nil {
		return nil, diag.Errorf("stress/state", diag.Pos{File: file}, "is not the state of a stress run").WithHint("remove it, or name another file with --state")
	}
	if what := old.differs(s); what != "" {
		return nil, diag.Errorf("stress/state", diag.Pos{File: file}, "is the state of a stress run with another %s", what).WithHint("remove it to begin anew, or name another file with --state")
	}
	// The later start says what it found; times and the begin are the first one's.
	old.file = file
	old.Capsule.Machine.LoadBefore = c.Machine.LoadBefore
	old.Capsule.Notes = append(old.Capsule.Notes, fmt.Sprintf("interrupted, went on at %s", c.Made.Format("2006-01-02 15:04:05")))
	return &old, nil
}

// differs names the first thing that keeps a state from going on as another; "" if nothing does.
func (s *State) differs(t *State) string {
	a, b := s.Capsule, t.Capsule
	cells := func(c *capsule.Capsule) (out []string) {
		for _, x := range c.Cells {
			out = append(out, x.Test)
		}
		return out
	}
	switch {
	case a.Version != b.Version || a.Kind != b.Kind || a.Program.Version != b.Program.Version || a.Program.Revision != b.Program.Revision:
		return "version of this program"
	case kvOf(a) != kvOf(b):
		return "cache"
	case a.Model.SHA256 != b.Model.SHA256 || a.Rewrite.Before != b.Rewrite.Before:
		return "model"
	case a.Rewrite.After != b.Rewrite.After || a.Rewrite.Journal != b.Rewrite.Journal || quantizedBy(a) != quantizedBy(b):
		return "profile or rules"
	case a.Device.Engine != b.Device.Engine || a.Device.Version != b.Device.Version:
		return "version of MLX"
	case a.Device.Device != b.Device.Device || a.Device.Name != b.Device.Name || a.Device.Driver != b.Device.Driver:
		return "device or driver"
	case a.Machine.CPU != b.Machine.CPU || a.Machine.Cores != b.Machine.Cores || a.Machine.Arch != b.Machine.Arch:
		return "CPU, or number of its cores"
	case a.Device.Library != b.Device.Library:
		return "library of CPU kernels"
	case a.Rewrite.RunsAs != b.Rewrite.RunsAs:
		return "choice of where kernels run"
	case s.Runs != t.Runs || !slices.Equal(cells(a), cells(b)) || len(s.Tokens) != len(a.Cells):
		return "list of prompts, lengths or runs"
	case s.Routing != t.Routing:
		return "choice of --routing"
	}
	return ""
}

// quantizedBy is the journal of the program with a quantized cache, if there is one.
func quantizedBy(c *capsule.Capsule) string {
	if c.Rewrite.Quantized == nil {
		return ""
	}
	return c.Rewrite.Quantized.Journal
}

func kvOf(c *capsule.Capsule) capsule.KV {
	if c.Rewrite.KV == nil {
		return capsule.KV{}
	}
	return *c.Rewrite.KV
}

// Next returns the run that comes next: of which cell, which side, and in which round. Sides
// take turns A B, B A, A B, ...
func (s *State) Next() (cell int, b bool, round int, ok bool) {
	for i, c := range s.Capsule.Cells {
		if n := len(c.Runs); n < 2*s.Runs {
			round = n / 2
			return i, (n%2 == 1) != (round%2 == 1), round, true
		}
	}
	return 0, false, 0, false
}

// Unrouted returns the first cell whose runs have all ended and whose routing is still
// missing, and the unrewritten program's tokens.
func (s *State) Unrouted() (cell int, tokens []int, ok bool) {
	for i, c := range s.Capsule.Cells {
		if s.Routing && len(c.Runs) >= 2*s.Runs && c.Routing == nil {
			return i, s.Tokens[i][0], true
		}
	}
	return 0, nil, false
}

// KeepRouting adds the routing of a cell and writes the state, whole.
func (s *State) KeepRouting(cell int, r []capsule.Routing) error {
	s.Capsule.Cells[cell].Routing = r
	return s.save()
}

// Keep adds a run that has ended and writes the state, whole.
func (s *State) Keep(cell int, r capsule.Run, fed int, tokens []int) error {
	c := &s.Capsule.Cells[cell]
	side := 0
	if r.B {
		side = 1
	}
	c.Fed = fed
	r.Tokens = capsule.Stream(tokens)[:16]
	c.Runs = append(c.Runs, r)
	first := &s.Tokens[cell]
	if first[side] == nil {
		first[side] = tokens
		stream := capsule.Stream(tokens)
		if r.B {
			c.StreamB = stream
		} else {
			c.StreamA = stream
		}
		if first[0] != nil && first[1] != nil {
			c.First = FirstDifference(first[0], first[1])
		}
	}
	return s.save()
}

// FirstDifference is the first place where two streams differ; -1 if none.
func FirstDifference(a, b []int) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

func (s *State) save() error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	target, err := outfile.Target(s.file)
	if err == nil {
		err = renameio.WriteFile(target, data, 0o644)
	}
	if err != nil {
		return diag.Errorf("file/write", diag.Pos{File: s.file}, "%v", err).WithHint("the state is kept beside the capsule; name another file with --state")
	}
	return nil
}

// Finish removes the state: the capsule has been written.
func (s *State) Finish() error {
	if err := os.Remove(s.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diag.Errorf("file/write", diag.Pos{File: s.file}, "%v", err)
	}
	return nil
}

// Done counts the runs that have ended, and all.
func (s *State) Done() (done, all int) {
	for _, c := range s.Capsule.Cells {
		done += len(c.Runs)
		all += 2 * s.Runs
	}
	return done, all
}

// Left estimates the seconds that the runs to come will take, from those that have ended; 0
// before there is one of each side.
func (s *State) Left() float64 {
	var took [2]float64
	var tokens, to [2]int
	for _, c := range s.Capsule.Cells {
		var n [2]int
		for _, r := range c.Runs {
			side := 0
			if r.B {
				side = 1
			}
			n[side]++
			took[side] += r.Seconds + r.Prompt
			tokens[side] += c.Made
		}
		for side := range to {
			to[side] += (s.Runs - n[side]) * c.Made
		}
	}
	left := 0.0
	for side := range took {
		if tokens[side] == 0 {
			return 0
		}
		left += took[side] / float64(tokens[side]) * float64(to[side])
	}
	return left
}
