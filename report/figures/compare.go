package figures

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/measure/capsule"
)

// Named is a capsule and where it was read from.
type Named struct {
	File string
	*capsule.Capsule
	label string // set if the file's name alone does not tell it apart
}

// Label tells capsules apart in a table: the file's name without its ending.
func (n *Named) Label() string {
	return cmp.Or(n.label, strings.TrimSuffix(filepath.Base(n.File), filepath.Ext(n.File)))
}

// labelled tells capsules of one name, such as stress.json of several folders, apart by their paths.
func labelled(all []Named) []Named {
	times := map[string]int{}
	for i := range all {
		times[all[i].Label()]++
	}
	all = slices.Clone(all)
	for i := range all {
		if n := &all[i]; times[n.Label()] > 1 {
			n.label = strings.TrimSuffix(filepath.ToSlash(n.File), filepath.Ext(n.File))
		}
	}
	return all
}

// Facts are what a reader wants to know of a capsule before its figures.
func (n *Named) Facts() [][2]string {
	c := n.Capsule
	revision := ""
	if c.Program.Revision != "" {
		revision = " " + c.Program.Revision[:min(12, len(c.Program.Revision))]
		if c.Program.Modified {
			revision += " with changes"
		}
	}
	device := Backend(c)
	if c.Device.Name != "" {
		device += " (" + c.Device.Name + ")"
	}
	if c.Device.MLXC != "" {
		device += ", mlx-c " + c.Device.MLXC
	}
	if c.Device.Driver != "" {
		device += ", driver " + c.Device.Driver
	}
	if c.Device.Library != "" {
		device += fmt.Sprintf(", library of CPU kernels %.12s", c.Device.Library)
	}
	machine := fmt.Sprintf("%s/%s, %d cores", c.Machine.OS, c.Machine.Arch, c.Machine.Cores)
	system := ""
	if c.Machine.Version != "" {
		system = c.Machine.Version + ", kernel " + c.Machine.Kernel
	}
	if c.Machine.CPU != "" {
		machine += ", " + c.Machine.CPU
	}
	if c.Machine.Memory > 0 {
		machine += ", " + Size(c.Machine.Memory)
	}
	dtype := ""
	if c.Model.DType != "" {
		dtype = " as " + c.Model.DType
	}
	out := [][2]string{
		{"made", c.Made.Format("2006-01-02 15:04:05") + " by zmlx-rewrite " + c.Program.Version + revision + ", " + c.Program.Go},
		{"command", strings.Join(c.Command, " ")},
		{"machine", machine},
		{"system", system},
		{"device", device},
		{"model", fmt.Sprintf("%s: %s, %s%s, sha256 %.12s of %s", c.Model.Name, Describe(&c.Model), Size(c.Model.Bytes), dtype, c.Model.SHA256, c.Model.Of)},
		{"rewrite", fmt.Sprintf("profile %s%s, %d rules, kernels: %s, %s, journal %.12s%s", c.Rewrite.Profile, choiceText(c), len(c.Rewrite.Rules), c.Rewrite.RunsAs, launchesText(&c.Rewrite, c.Cells), c.Rewrite.Journal, kvText(c.Rewrite.KV))},
	}
	if x := c.Against; x != nil {
		r := &x.Rewrite
		out = append(out, [2]string{Against, fmt.Sprintf("%s: profile %s, %d rules, %s, journal %.12s%s", cmp.Or(x.Flags, "the same"), r.Profile, len(r.Rules), launchesText(r, c.Cells), r.Journal, kvText(r.KV))})
	}
	var most [2]int64
	for _, cell := range c.Cells {
		most[0], most[1] = max(most[0], cell.PeakA), max(most[1], cell.PeakB)
	}
	if most[0] > 0 && most[1] > 0 {
		out = append(out, [2]string{"memory", fmt.Sprintf("arrays of each program alone, at most: %s %s, rewritten %s", first(c), Size(most[0]), Size(most[1]))})
	}
	if len(c.Machine.LoadBefore) > 0 {
		out = append(out, [2]string{"load", Load(c.Machine.LoadBefore) + " before, " + Load(c.Machine.LoadAfter) + " after"})
	}
	if len(c.Machine.Temperatures) > 0 {
		out = append(out, [2]string{"temperature", fmt.Sprintf("%.0f °C at most, at the end", slices.Max(c.Machine.Temperatures))})
	}
	if len(c.Machine.Thermal) > 0 {
		out = append(out, [2]string{"thermal", strings.Join(c.Machine.Thermal, "; ")})
	}
	for _, note := range c.Notes {
		out = append(out, [2]string{"note", note})
	}
	return slices.DeleteFunc(out, func(f [2]string) bool { return f[1] == "" })
}

func kvText(kv *capsule.KV) (text string) {
	if kv != nil && kv.Bits > 0 {
		text = fmt.Sprintf(", cache quantized to %d bits in groups of %d from token %d on", kv.Bits, kv.GroupSize, kv.Start)
	}
	if kv != nil && kv.Size > 0 {
		text += fmt.Sprintf(", cache of %d rows", kv.Size)
	}
	return text
}

// choiceText says which of a profile's rules were used, if not those of inference.
func choiceText(c *capsule.Capsule) (text string) {
	if p := c.Rewrite.Preset; p != "" && p != inference {
		text = ", preset " + p
	}
	if t := c.Rewrite.Target; t != "" && t != c.Device.Device {
		text += ", for " + t
	}
	choice := c.Choice()
	for _, x := range []struct {
		word string
		list []string
	}{{"only", choice.Only}, {"without", choice.Exclude}, {"with", choice.Force}} {
		if len(x.list) > 0 {
			text += ", " + x.word + " " + strings.Join(x.list, " and ")
		}
	}
	if choice.NoLedger {
		text += ", no ledger"
	}
	return text
}

// inference is the preset that nobody has to name.
const inference = "inference"

// launchesText says what a decode step launches, of each kind of step that ran.
func launchesText(r *capsule.Rewrite, cells []capsule.Cell) string {
	var out []string
	for _, s := range r.Ran(cells) {
		before, after := s.Sum()
		out = append(out, fmt.Sprintf("%d → %d%s", before, after, cacheText(r, &s)))
	}
	return "launches " + strings.Join(out, ", ")
}

// cacheText says which caches a step has, where there may be others.
func cacheText(r *capsule.Rewrite, s *capsule.Steps) string {
	switch {
	case s.Quantized:
		return " with a quantized cache"
	case r.KV != nil && r.KV.Bits > 0:
		return " with plain caches"
	}
	return ""
}

// Report writes capsules for people: each on its own, then side by side.
func Report(w io.Writer, all []Named) {
	all = labelled(all)
	for i := range all {
		n := &all[i]
		fmt.Fprintf(w, "## %s\n\n", n.Label())
		for _, f := range n.Facts() {
			fmt.Fprintf(w, "- %s: %s\n", f[0], f[1])
		}
		fmt.Fprintln(w)
		if n.Kind == capsule.Stress {
			Stress(w, n.Capsule)
		} else {
			Markdown(w, Rows("", n.Capsule))
		}
		fmt.Fprintln(w)
	}
	if len(all) > 1 {
		fmt.Fprint(w, "## side by side\n\nmedian tokens a second of the rewritten program, and its ratio to the unrewritten one, or to what it is against, of the same run\n\n")
		Table(w, sideBySide(all), columns(2, 1+len(all))...)
		stressSideBySide(w, all)
	}
}

func columns(from, to int) (out []int) {
	for i := from; i <= to; i++ {
		out = append(out, i)
	}
	return out
}

// sideBySide has a line for each test that any capsule has.
func sideBySide(all []Named) [][]string {
	head := []string{"test"}
	for i := range all {
		label := all[i].Label()
		if c := all[i].Capsule; c.Against != nil {
			label += " " + first(c)
		}
		head = append(head, label)
	}
	rows := [][]string{head}
	for _, test := range Tests(all) {
		row := []string{test}
		for i := range all {
			cell := Find(all[i].Capsule, test)
			if cell == nil {
				row = append(row, "")
				continue
			}
			s := cell.Summary()
			row = append(row, fmt.Sprintf("%.2f · %s", s.B.Median, ratioOf(&s, 2)))
		}
		rows = append(rows, row)
	}
	return rows
}

// ratioOf prints a ratio with its interval, if there are rounds enough for one.
func ratioOf(s *bench.Summary, digits int) string {
	if s.Rounds <= bench.FewRounds {
		return fmt.Sprintf("%.*f (too few rounds)", digits, s.Ratio)
	}
	return fmt.Sprintf("%.*f [%.*f, %.*f]", digits, s.Ratio, digits, s.Low, digits, s.High)
}

// Tests are the names of the tests of some capsules, each once, in order.
func Tests(all []Named) []string {
	var out []string
	seen := map[string]bool{}
	for i := range all {
		for k := range all[i].Cells {
			if name := all[i].Cells[k].Name(); !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
		}
	}
	return out
}

// Find returns the test of that name, or nil.
func Find(c *capsule.Capsule, name string) *capsule.Cell {
	for i := range c.Cells {
		if c.Cells[i].Name() == name {
			return &c.Cells[i]
		}
	}
	return nil
}
