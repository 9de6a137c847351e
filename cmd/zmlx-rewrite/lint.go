package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/matcher"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/rules"
)

func (a *app) lintCmd() *cobra.Command {
	var kernelDirs []string
	var format string
	c := &cobra.Command{
		Use:   "lint [FILE|DIR...]",
		Short: "Check rule, profile and kernel files; report all errors of all files in one run",
		Long: "Lint checks the files named, or without names those of rules/ and profiles/ of the working\nfolder together with the built-in ones. " +
			"Of a folder it checks the files in it, and in\nits rules/, kernels/ and profiles/, as `rules new` lays them out.",
		RunE: func(c *cobra.Command, args []string) error { return a.lint(args, kernelDirs, format) },
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json: one object, with what is wrong in it as well")
	c.Flags().StringArrayVar(&kernelDirs, "kernels", nil, "`folder` of kernels that the rules may use besides the built-in ones; may be repeated")
	return c
}

// linted is what lint found, as JSON.
type linted struct {
	Rules    int           `json:"rule_files" jsonschema:"files of rules that were named; 0 if none was, then those of the working folder are checked"`
	Profiles int           `json:"profiles" jsonschema:"that were checked"`
	Kernels  int           `json:"kernels" jsonschema:"that were checked by themselves"`
	Errors   int           `json:"errors" jsonschema:"of the issues; above 0 the exit code is 2"`
	Issues   []lintedIssue `json:"issues" jsonschema:"by file and place; standard error has them as text"`
}

type lintedIssue struct {
	Code     string `json:"code" jsonschema:"area and what; it never changes its meaning"`
	Severity string `json:"severity" jsonschema:"only errors make it fail"`
	File     string `json:"file,omitempty" jsonschema:"that it is in"`
	Line     int    `json:"line,omitempty" jsonschema:"counted from 1"`
	Column   int    `json:"column,omitempty" jsonschema:"counted from 1, in bytes"`
	Message  string `json:"message" jsonschema:"what is wrong"`
	Hint     string `json:"hint,omitempty" jsonschema:"what to do next"`
}

func (a *app) lint(args, kernelDirs []string, format string) error {
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	var ruleFiles, profileFiles []string
	kernelFiles := map[string]bool{}
	var issues diag.List
	for _, arg := range args {
		files := []string{arg}
		if info, err := os.Stat(arg); err != nil {
			issues.Add(diag.Errorf("file/open", diag.Pos{File: arg}, "there is no such file or folder"))
			continue
		} else if info.IsDir() {
			files, _ = filepath.Glob(filepath.Join(arg, "*.yaml"))
			for _, of := range []string{"rules", "profiles"} {
				inside, _ := filepath.Glob(filepath.Join(arg, of, "*.yaml"))
				files = append(files, inside...)
			}
			if dir := filepath.Join(arg, "kernels"); isDir(dir) {
				kernelDirs = append(kernelDirs, dir)
			} else if len(files) == 0 {
				issues.Add(diag.Errorf("lint/empty", diag.Pos{File: arg}, "holds no .yaml files").WithHint("name files, or a folder that has some, or such in rules/, profiles/ and kernels/"))
			}
		}
		for _, f := range files {
			data, issue := diag.ReadText(f)
			if issue != nil {
				issues.Add(issue)
				continue
			}
			switch kindOf(data) {
			case "kernel":
				// A kernel that is new to the catalogue is used by rules only once it is
				// named with --kernels, so that it is checked by itself.
				s, list := kernels.Parse(f, data)
				issues = append(issues, list...)
				if s != nil && !list.HasErrors() {
					issues.Add(untried(s))
				}
				kernelFiles[filepath.ToSlash(f)] = true
			case "profile":
				profileFiles = append(profileFiles, f)
			default:
				ruleFiles = append(ruleFiles, f)
			}
		}
	}
	catalog, list := kernels.Load(kernelDirs...)
	issues = append(issues, list...)
	for _, s := range catalog.All() {
		if !strings.HasPrefix(s.Source, "builtin/") && !kernelFiles[filepath.ToSlash(s.Source)] {
			issues.Add(untried(s))
			kernelFiles[filepath.ToSlash(s.Source)] = true
		}
	}
	set, list := rules.Load(home(args), ruleFiles, catalog)
	issues = append(issues, list...)
	n := 0
	if set != nil {
		for _, r := range set.Rules() {
			n++
			_, err := matcher.Compile(set, r)
			issues.AddErr(err, "rule/expansions", r.Pos)
		}
	}
	var all []*profiles.Profile
	if len(args) == 0 {
		all, list = profiles.Load(".")
		issues = append(issues, list...)
	}
	for _, f := range profileFiles {
		data, issue := diag.ReadText(f)
		if issues.Add(issue); issue != nil {
			continue
		}
		p, list := profiles.Parse(f, data)
		if issues = append(issues, list...); p != nil {
			all = append(all, p)
		}
	}
	for _, p := range all {
		if set != nil { // else its rules are not known
			issues = append(issues, p.Check(set)...)
		}
	}
	issues.Sort()
	if format == "json" {
		out := linted{Rules: len(ruleFiles), Profiles: len(all), Kernels: len(kernelFiles), Issues: []lintedIssue{}}
		for _, i := range issues {
			if i.Severity == diag.Error {
				out.Errors++
			}
			out.Issues = append(out.Issues, lintedIssue{i.Code, i.Severity.String(), i.Pos.File, i.Pos.Line, i.Pos.Col, i.Message, i.Hint})
		}
		if err := a.json(out); err != nil {
			return err
		}
	}
	if issues.HasErrors() {
		return issues
	}
	a.issues(issues)
	if format == "json" {
		return nil
	}
	if len(args) > 0 {
		fmt.Fprintf(a.stdout, "%d rule files, %d profiles, %d kernels checked: no errors\n", len(ruleFiles), len(profileFiles), len(kernelFiles))
		return nil
	}
	fmt.Fprintf(a.stdout, "%d rules, %d kernels: no errors\n", n, len(catalog.All()))
	return nil
}

// untried warns of dimensions for which a kernel's spec has no lengths to try; nil if it has.
func untried(s *kernels.Spec) *diag.Issue {
	list := s.Untried()
	if len(list) == 0 {
		return nil
	}
	w := diag.Errorf("kernel/untried", diag.Pos{File: s.Source}, "%s of kernel %s is tried at length 1 only", strings.Join(list, ", "), s.Name).
		WithHint("lengths to try go under check.dims, what follows from others under check.derive")
	w.Severity = diag.Warning
	return w
}

// home is the folder whose rules/ and profiles/ are checked: the working folder
// if nothing was named.
func home(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return ""
}

// kindOf tells rule, kernel and profile files apart by their first key.
func kindOf(data []byte) string {
	for line := range strings.SplitSeq(string(data), "\n") {
		for _, kind := range []string{"kernel", "profile", "family"} {
			if strings.HasPrefix(line, kind+":") {
				return kind
			}
		}
	}
	return ""
}
