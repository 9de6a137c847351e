package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

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
		Use: "gate DIR", Short: "Fail if the newest capsule of any series is slower than the one before it",
		Long: "Gate is for CI. It looks at the 95 % interval, not at the mean: a test has regressed if all of the\n" +
			"interval of its change lies below the threshold, so that noise alone fails nothing; with --strict\n" +
			"also if only a part does. Exit code 1: something regressed, or there was nothing to compare.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.gate(args[0], &g) },
	}
	g.flags(gate)
	gate.Flags().BoolVar(&g.strict, "strict", false, "what is unclear fails, too")
	c.AddCommand(web, gate)
	return c
}

// readMatrix reads the capsules below a folder. Other JSON files are left out, and told of.
func (a *app) readMatrix(dir string, m *matrixOptions) ([]figures.Series, error) {
	if err := oneOf("by", m.metric, figures.ByRatio, figures.BySpeed); err != nil {
		return nil, err
	}
	if !isDir(dir) {
		return nil, diag.Errorf("usage/matrix", diag.Pos{File: dir}, "is not a folder")
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
		case errors.As(err, &issue) && issue.Code == "capsule/syntax":
			fmt.Fprintf(a.progress, "%s is left out: %s\n", path, issue.Message)
			return nil
		case errors.As(err, &issue):
			issues = append(issues, issue)
			return nil
		case err != nil:
			return err
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
	return figures.Matrix(all, m.metric), err
}

func (a *app) matrix(dir string, m *matrixOptions) error {
	if err := oneOf("output", m.format, "md", "csv", "json", "html"); err != nil {
		return err
	}
	series, err := a.readMatrix(dir, m)
	if err != nil {
		return err
	}
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

func (a *app) gate(dir string, m *matrixOptions) error {
	series, err := a.readMatrix(dir, m)
	if err != nil {
		return err
	}
	compared := 0
	var failed []string
	for i := range series {
		s := &series[i]
		v := s.Verdict(m.threshold)
		if v == figures.Alone {
			continue
		}
		compared++
		newest, before := &s.Points[len(s.Points)-1], &s.Points[len(s.Points)-2]
		line := fmt.Sprintf("%-9s  %s · %s · %s · %s: %s × the %s of before (%s against %s)", v, s.Model, s.Profile, s.Device, s.Test, newest.Change, m.metric, newest.Capsule, before.Capsule)
		fmt.Fprintln(a.stdout, line)
		if v == figures.Regressed || v == figures.Unclear && m.strict {
			failed = append(failed, s.Test)
		}
	}
	switch {
	case compared == 0:
		return isFalse("%s: no test has two capsules of the same model, profile and device, of 3 rounds or more: there is nothing to compare", dir)
	case len(failed) > 0:
		return isFalse("%d of %d tests are below %g: %s", len(failed), compared, m.threshold, strings.Join(failed, ", "))
	}
	return nil
}
