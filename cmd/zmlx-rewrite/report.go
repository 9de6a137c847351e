package main

import (
	"bytes"
	"errors"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/report/figures"
)

func (a *app) reportCmd() *cobra.Command {
	var o options
	var format, out string
	var verify, still bool
	c := &cobra.Command{
		Use:   "report CAPSULE...",
		Short: "Print capsules, compare several, or find out whether one still holds",
		Long: "Report prints what capsules of bench and stress hold, and several side by side. As html it is one\n" +
			"file with its drawings in it, which asks nothing of any network. With --verify it holds a capsule\n" +
			"against this machine: its schema, its journal replayed with the rules of today, the kernels' hashes,\n" +
			"the weights' hash, and the tokens, which are made again. Times are not made again: they are taken as\n" +
			"they stand. Exit code 1: something differs.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			if verify {
				if err := oneOf("output", format, "md", "json"); err != nil {
					return err
				}
				if out != "" {
					return diag.Errorf("usage/report", diag.Pos{}, "--verify prints what it finds, one line after the other, and takes no --out").WithHint("leave it out, or send standard output to a file: > %s", out)
				}
				for _, f := range files {
					v := &verification{app: a, json: format == "json", file: f}
					if err := v.capsule(c.Context(), &o, !still); err != nil {
						return err
					}
				}
				return nil
			}
			return a.report(files, format, out)
		},
	}
	f := c.Flags()
	f.StringVarP(&format, "output", "o", "md", "md, csv, json (one row a line, and one mean of a stress run a line) or html; with --verify md or json")
	f.StringVar(&out, "out", "", "`file` to write to, in place of standard output; not with --verify")
	f.BoolVar(&verify, "verify", false, "say whether the capsule still reproduces")
	f.BoolVar(&still, "no-run", false, "with --verify: do not make the tokens again")
	f.StringVar(&o.model, "model", "", "with --verify: the `model`, if it is not where the capsule says")
	f.StringVar(&o.home, "home", "", "with --verify: `folder` to take rules/, profiles/ and kernels/ from, in place of the working folder")
	f.StringArrayVar(&o.rules, "rules", nil, "with --verify: rule `file or folder` to use over the built-in ones")
	f.StringArrayVar(&o.kernels, "kernels", nil, "with --verify: `folder` of kernels to use over the built-in ones")
	return c
}

func capsules(files []string) ([]figures.Named, error) {
	var all []figures.Named
	var issues diag.List
	for _, f := range files {
		c, err := capsule.Read(f)
		var issue *diag.Issue
		if errors.As(err, &issue) {
			issues = append(issues, issue)
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, figures.Named{File: f, Capsule: c})
	}
	return all, issues.Err()
}

func (a *app) report(files []string, format, out string) error {
	if err := oneOf("output", format, "md", "csv", "json", "html"); err != nil {
		return err
	}
	all, err := capsules(files)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if format == "csv" || format == "json" {
		var rows []figures.Row
		var means []figures.MeanRow
		for _, n := range all {
			rows = append(rows, figures.Rows(n.File, n.Capsule)...)
			means = append(means, figures.Means(n.File, n.Capsule)...)
		}
		if format == "csv" {
			err = figures.CSV(&b, rows, means)
		} else if err = figures.JSON(&b, rows); err == nil {
			err = figures.JSON(&b, means)
		}
	} else if format == "html" {
		err = figures.HTML(&b, all)
	} else {
		figures.Report(&b, all)
	}
	if err != nil {
		return err
	}
	return a.put(out, b.Bytes())
}

// put writes to a file, whole, or to standard output if there is none.
func (a *app) put(file string, data []byte) error {
	if file != "" {
		return writeFile(file, data)
	}
	_, err := a.stdout.Write(data)
	return err
}
