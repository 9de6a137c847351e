package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/rules"
)

// noRule is the error of a name that no rule has. Its hint says what of that name there is:
// a family, a file, a folder; else which rules have names like it.
func noRule(name string, all []*rules.Rule) *diag.Issue {
	issue := diag.Errorf("usage/rule", diag.Pos{}, "no rule %q", name)
	var family []string
	file := ""
	for _, r := range all {
		if r.Name == name+"."+r.Short() {
			family = append(family, r.Name)
			file = r.File.Path
		}
	}
	if len(family) > 0 {
		if len(family) > shownRules {
			family = append(family[:shownRules:shownRules], "and more (zmlx-rewrite rules list)")
		}
		return issue.WithHint("%s is a family, in %s; its rules: %s", name, file, strings.Join(family, ", "))
	}
	for _, path := range []string{name, name + ".yaml", filepath.Join("rules", name+".yaml")} {
		info, err := os.Stat(path)
		switch {
		case err != nil:
		case !info.IsDir():
			return issue.WithHint("there is a file %s: --rules %s reads it", path, path)
		case isDir(filepath.Join(path, "rules")):
			return issue.WithHint("%s is a folder with rules: --home %s reads it", path, path)
		default:
			return issue.WithHint("%s is a folder: --rules %s reads the files of rules in it", path, path)
		}
	}
	if near := closest(name, all); len(near) > 0 {
		return issue.WithHint("did you mean %s?", strings.Join(near, ", or "))
	}
	return issue.WithHint("zmlx-rewrite rules list shows all rules; a file of rules ends with .yaml")
}

// shownRules is how many rules of a family are named, and likeRules how many that have a name
// like another.
const (
	shownRules = 8
	likeRules  = 3
)

// closest are the rules whose names are the nearest; else those that are called so in another
// family, or have the name in theirs.
func closest(name string, all []*rules.Rule) []string {
	var names []string
	for _, r := range all {
		names = append(names, r.Name)
	}
	if near := diag.Nearest(name, names); near != "" {
		return []string{near}
	}
	_, short, _ := strings.Cut(name, ".")
	short = cmp.Or(short, name)
	var shorts []string
	for _, r := range all {
		shorts = append(shorts, r.Short())
	}
	like := diag.Nearest(short, shorts)
	var near []string
	for i, r := range all {
		if len(near) < likeRules && (shorts[i] == like || len(short) > 2 && strings.Contains(r.Name, short)) {
			near = append(near, r.Name)
		}
	}
	return near
}
