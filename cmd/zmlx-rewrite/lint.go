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
	c := &cobra.Command{
		Use:   "lint [FILE|DIR...]",
		Short: "Check rule, profile and kernel files; report all errors of all files in one run",
		Long:  "Lint checks the files named, or without names those of rules/ and profiles/ of the working\nfolder together with the built-in ones.",
		RunE:  func(c *cobra.Command, args []string) error { return a.lint(args, kernelDirs) },
	}
	c.Flags().StringArrayVar(&kernelDirs, "kernels", nil, "`folder` of kernels that the rules may use besides the built-in ones; may be repeated")
	return c
}

func (a *app) lint(args, kernelDirs []string) error {
	var ruleFiles, profileFiles []string
	kernelFiles := 0
	var issues diag.List
	for _, arg := range args {
		files := []string{arg}
		if info, err := os.Stat(arg); err != nil {
			issues.Add(diag.Errorf("file/open", diag.Pos{File: arg}, "there is no such file or folder"))
			continue
		} else if info.IsDir() {
			if files, _ = filepath.Glob(filepath.Join(arg, "*.yaml")); len(files) == 0 {
				issues.Add(diag.Errorf("lint/empty", diag.Pos{File: arg}, "holds no .yaml files"))
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
				if s != nil && !list.HasErrors() && len(s.Untried()) > 0 {
					w := diag.Errorf("kernel/untried", diag.Pos{File: f}, "%s of kernel %s is tried at length 1 only", strings.Join(s.Untried(), ", "), s.Name).
						WithHint("lengths to try go under check.dims, what follows from others under check.derive")
					w.Severity = diag.Warning
					issues.Add(w)
				}
				kernelFiles++
			case "profile":
				profileFiles = append(profileFiles, f)
			default:
				ruleFiles = append(ruleFiles, f)
			}
		}
	}
	catalog, list := kernels.Load(kernelDirs...)
	issues = append(issues, list...)
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
	if issues.HasErrors() {
		return issues
	}
	a.issues(issues)
	if len(args) > 0 {
		fmt.Fprintf(a.stdout, "%d rule files, %d profiles, %d kernels checked: no errors\n", len(ruleFiles), len(profileFiles), kernelFiles)
		return nil
	}
	fmt.Fprintf(a.stdout, "%d rules, %d kernels: no errors\n", n, len(catalog.All()))
	return nil
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
