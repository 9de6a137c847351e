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
	return &cobra.Command{
		Use:   "lint [FILE|DIR...]",
		Short: "Check rule, profile and kernel files; report all errors of all files in one run",
		Long:  "Lint checks the files named, or without names those of rules/ and profiles/ of the working\nfolder together with the built-in ones.",
		RunE:  func(c *cobra.Command, args []string) error { return a.lint(args) },
	}
}

func (a *app) lint(args []string) error {
	var ruleFiles, kernelDirs, profileFiles []string
	var issues diag.List
	for _, arg := range args {
		files := []string{arg}
		if info, err := os.Stat(arg); err != nil {
			issues.Add(diag.Errorf("file/open", diag.Pos{File: arg}, "%v", err))
			continue
		} else if info.IsDir() {
			files, _ = filepath.Glob(filepath.Join(arg, "*.yaml"))
		}
		for _, f := range files {
			switch kindOf(f) {
			case "kernel":
				kernelDirs = append(kernelDirs, filepath.Dir(f))
			case "profile":
				profileFiles = append(profileFiles, f)
			default:
				ruleFiles = append(ruleFiles, f)
			}
		}
	}
	catalog, list := kernels.Load(unique(kernelDirs)...)
	issues = append(issues, list...)
	set, list := rules.Load(home(args), ruleFiles, catalog)
	issues = append(issues, list...)
	n := 0
	if set != nil {
		for _, r := range set.Rules() {
			n++
			if _, err := matcher.Compile(set, r); err != nil {
				issues.Add(diag.Errorf("rule/expansions", r.Pos, "%v", err))
			}
		}
		if len(args) == 0 {
			_, list := profiles.Load(".", set)
			issues = append(issues, list...)
		}
		for _, f := range profileFiles {
			data, err := os.ReadFile(f)
			if err != nil {
				issues.Add(diag.Errorf("file/open", diag.Pos{File: f}, "%v", err))
				continue
			}
			_, list := profiles.Parse(f, data)
			issues = append(issues, list...)
		}
	}
	issues.Sort()
	if issues.HasErrors() {
		return issues
	}
	a.issues(issues)
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
func kindOf(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		for _, kind := range []string{"kernel", "profile", "family"} {
			if strings.HasPrefix(line, kind+":") {
				return kind
			}
		}
	}
	return ""
}

func unique(list []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
