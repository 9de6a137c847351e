package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/report/figures"
)

// matrixOptions are shared by matrix and what is below it.
type matrixOptions struct {
	format, out, metric string
	threshold           float64
	history, strict     bool
}

func (m *matrixOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&m.metric, "by", figures.ByRatio, "what capsules are compared by: ratio (to the unrewritten program of the same run) or speed")
	f.Float64Var(&m.threshold, "threshold", 0.97, "a test regressed if the whole interval of newest / one before lies below")
}

func (a *app) matrixCmd() *cobra.Command {
	var m, h, g matrixOptions
	c := &cobra.Command{
		Use:   "matrix DIR",
		Short: "Models × profiles × devices from a folder of capsules: newest figures, history, regressions",
		Long: "Matrix reads all capsules of a folder and its subfolders and prints, for each test of each model,\n" +
			"profile and device, the newest figures and how they compare with the capsule before it.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.matrix(args[0], &m) },
	}
	m.flags(c)
	c.Flags().StringVarP(&m.format, "output", "o", "md", "md, csv or json (one series a line)")
	c.Flags().BoolVar(&m.history, "history", false, "all capsules, not only the newest")
	web := &cobra.Command{
		Use: "html DIR", Short: "The matrix with its history as one HTML file", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { h.format = "html"; return a.matrix(args[0], &h) },
	}
	h.flags(web)
	web.Flags().StringVar(&h.out, "out", "", "`file` to write to, in place of standard output")
	gate := &cobra.Command{
		Use: "gate DIR", Short: "Fail if the newest capsule of any series is slower than the one before it, or proves nothing",
		Long: "Gate is for CI. It looks at the 95 % interval, not at the mean: a test has regressed if all of the\n" +
			"interval of its change lies below the threshold, so that noise alone fails nothing; with --strict\n" +
			"also if only a part does. Exit code 1: something regressed, the rewritten program made other\n" +
			"tokens, a test is missing that the version before had, the newest capsule has too few rounds, or\n" +
			"there was nothing to compare. A file that is torn, or a broken capsule, is exit code 2.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.gate(args[0], &g) },
	}
	g.flags(gate)
	gate.Flags().StringVarP(&g.format, "output", "o", "text", "text or json (one test a line)")
	gate.Flags().BoolVar(&g.strict, "strict", false, "what is unclear fails, too")
	c.AddCommand(web, gate)
	return c
}

// readMatrix reads the capsules below a folder. Other JSON files are left out, and told of. One
// that is not even JSON is likely a capsule that was cut off: whole ones alone are enough to look
// at, but to a gate it may be the newest.
func (a *app) readMatrix(dir string, m *matrixOptions, whole bool) ([]figures.Named, error) {
	if err := oneOf("by", m.metric, figures.ByRatio, figures.BySpeed); err != nil {
		return nil, err
	}
	if !(m.threshold > 0 && m.threshold <= 2) { // nothing is below 0, or below NaN
		return nil, diag.Errorf("usage/matrix", diag.Pos{}, "--threshold %g is not above 0 and at most 2", m.threshold).
			WithHint("it is newest / one before, below which a test has regressed: --threshold 0.97")
	}
	if !isDir(dir) {
		return nil, diag.Errorf("usage/matrix", diag.Pos{File: dir}, "is not a folder").WithHint("name a folder of capsules; report prints single ones")
	}
	var all []figures.Named
	var issues diag.List
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		c, err := capsule.Read(path)
		var issue *diag.Issue
		switch {
		case errors.As(err, &issue) && issue.Code == "capsule/syntax" && !torn(path):
			fmt.Fprintf(a.progress, "%s is left out: %s\n", path, issue.Message)
			return nil
		case errors.As(err, &issue) && issue.Code == "capsule/syntax" && !whole:
			fmt.Fprintf(a.stderr, "%s is left out: %s\n", path, issue.Message)
			return nil
		case errors.As(err, &issue):
			issues = append(issues, issue)
			return nil
		case err != nil:
			return err
		}
		if c.Against != nil {
			fmt.Fprintf(a.progress, "%s is left out: it compares two rewrites, not one with the unrewritten program\n", path)
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		all = append(all, figures.Named{File: filepath.ToSlash(rel), Capsule: c})
		return err
	})
	if err == nil {
		err = issues.Err()
	}
	if err == nil && len(all) == 0 {
		err = diag.Errorf("matrix/empty", diag.Pos{File: dir}, "holds no capsules").WithHint("bench --capsule FILE and stress --json-out FILE write them")
	}
	return all, err
}

// torn reports whether a file that is no capsule looks like what is left of one: it is no JSON,
// or has a capsule's fields.
func torn(path string) bool {
	data, err := os.ReadFile(path)
	var head struct {
		Kind  string          `json:"kind"`
		Cells json.RawMessage `json:"cells"`
	}
	switch {
	case err != nil || !json.Valid(data):
		return true
	case json.Unmarshal(data, &head) != nil: // JSON, of other types
		return false
	}
	return head.Cells != nil || head.Kind == capsule.Bench || head.Kind == capsule.Stress
}

func (a *app) matrix(dir string, m *matrixOptions) error {
	if err := oneOf("output", m.format, "md", "csv", "json", "html"); err != nil {
		return err
	}
	all, err := a.readMatrix(dir, m, false)
	if err != nil {
		return err
	}
	for i := range all {
		if tests := figures.TooFew(all[i].Capsule); len(tests) > 0 {
			fmt.Fprintf(a.progress, "%s: left out, with too few rounds for an interval (bench -r 3 or more, stress --runs 3 or more): %s\n", all[i].File, strings.Join(tests, ", "))
		}
	}
	series := figures.Matrix(all, m.metric)
	var b bytes.Buffer
	switch m.format {
	case "csv":
		err = figures.MatrixCSV(&b, series)
	case "json":
		err = figures.MatrixJSON(&b, series)
	case "html":
		err = figures.MatrixHTML(&b, series, m.threshold)
	default:
		figures.MatrixTable(&b, series, m.threshold, m.history)
	}
	if err != nil {
		return err
	}
	return a.put(m.out, b.Bytes())
}

// gated is the JSON form of a gate's verdict on a test.
type gated struct {
	Model   string          `json:"model" jsonschema:"type and precision, with the beginning of the hash of its files"`
	Profile string          `json:"profile" jsonschema:"of rules, with what else was chosen: preset, rules, cache"`
	Device  string          `json:"device" jsonschema:"and its name"`
	Test    string          `json:"test" jsonschema:"pp512, tg128, or kind of prompt and length; @ d is the depth"`
	Verdict string          `json:"verdict" jsonschema:"docs/MEASURE.md says what each means"`
	Why     string          `json:"why" jsonschema:"figures and capsules that it stands on"`
	Change  *figures.Change `json:"change,omitempty" jsonschema:"against the version before; absent if they were not compared"`
	Few     bool            `json:"too_few_rounds,omitempty" jsonschema:"for an interval, so nothing is known"`
}

func (a *app) gate(dir string, m *matrixOptions) error {
	if err := oneOf("output", m.format, "text", "json"); err != nil {
		return err
	}
	all, err := a.readMatrix(dir, m, true)
	if err != nil {
		return err
	}
	compared := 0
	var slow, unclear, few, other, missing []string
	for _, j := range figures.Judge(all, m.metric, m.threshold) {
		if m.format == "json" {
			if err := a.json(gated{j.Model, j.Profile, j.Device, j.Test, j.Verdict, j.Why, j.Change, j.Few}); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(a.stdout, "%-9s  %s · %s · %s · %s: %s\n", j.Verdict, j.Model, j.Profile, j.Device, j.Test, j.Why)
		}
		switch {
		case j.Verdict == figures.Differs:
			other = append(other, j.Test)
			continue
		case j.Verdict == figures.Missing:
			missing = append(missing, j.Test)
			continue
		case j.Few:
			few = append(few, j.Test)
			continue
		case j.Verdict == figures.Regressed:
			slow = append(slow, j.Test)
		case j.Verdict == figures.Unclear && m.strict:
			unclear = append(unclear, j.Test)
		}
		compared++
	}
	var failed []string
	for _, f := range []struct {
		tests []string
		what  string
	}{
		{slow, fmt.Sprintf("%d of %d tests are below %g: ", len(slow), compared, m.threshold)},
		{unclear, fmt.Sprintf("%d of %d tests may be below %g (hint: measure more rounds): ", len(unclear), compared, m.threshold)},
		{other, "the rewritten program made other tokens: "},
		{missing, "measured in the version before and not in the newest (hint: measure it again, or remove its old capsules): "},
		{few, fmt.Sprintf("too few rounds to say anything of the newest version (hint: bench -r %d or more): ", bench.FewRounds+1)},
	} {
		if len(f.tests) > 0 {
			failed = append(failed, f.what+strings.Join(f.tests, ", "))
		}
	}
	switch {
	case len(failed) > 0:
		return isFalse("%s", strings.Join(failed, "\n"))
	case compared == 0:
		return isFalse("%s: no test has two capsules of the same model, profile and device, of %d rounds or more: there is nothing to compare", dir, bench.FewRounds+1)
	}
	return nil
}
