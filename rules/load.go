package rules

import (
	"bytes"
	"embed"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
)

//go:embed *.yaml
var embedded embed.FS

// Embedded returns the names of the rule files that are built in.
func Embedded() []string {
	names, _ := fs.Glob(embedded, "*.yaml")
	return names
}

// Load reads the built-in rule files, and over them, by name, the files at paths
// (files or folders) and those of the folder "rules" of dir, if dir is not "".
// An overlay file counts only if it begins with "zmlx:", so that a folder of that
// name in some other project does no harm.
func Load(dir string, paths []string, catalog *kernels.Catalog) (*Set, diag.List) {
	type source struct {
		path string
		data []byte
	}
	var issues diag.List
	byName := map[string]source{}
	unread := map[string]bool{}
	for _, name := range Embedded() {
		data, _ := embedded.ReadFile(name)
		byName[name] = source{"builtin/rules/" + name, data}
	}
	add := func(path string, must bool) {
		data, issue := diag.ReadText(path)
		if issue != nil {
			issues.Add(issue.WithHint("name a rule file or a folder of them"))
			unread[filepath.Base(path)] = true
			return
		}
		if must || strings.HasPrefix(string(data), "zmlx:") || strings.Contains(string(data), "\nzmlx:") {
			byName[filepath.Base(path)] = source{filepath.ToSlash(path), data}
		}
	}
	if dir != "" {
		found, _ := filepath.Glob(filepath.Join(dir, "rules", "*.yaml"))
		for _, path := range found {
			add(path, false)
		}
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			found, _ := filepath.Glob(filepath.Join(path, "*.yaml"))
			for _, f := range found {
				add(f, true)
			}
			continue
		}
		add(path, true)
	}
	var names []string
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	var files []*File
	for _, name := range names {
		f, list := Parse(byName[name].path, byName[name].data)
		issues = append(issues, list...)
		if f == nil {
			unread[name] = true
			continue
		}
		own, err := embedded.ReadFile(name)
		f.Builtin = err == nil && bytes.Equal(own, byName[name].data)
		files = append(files, f)
	}
	set, list := link(files, unread, catalog)
	if issues = append(issues, list...); issues.HasErrors() {
		issues.Sort()
		return nil, issues
	}
	return set, issues
}

// Text returns the bytes of a rule file that was read: of one that is built in, or from
// where it stands.
func (f *File) Text() ([]byte, error) {
	if name, ok := strings.CutPrefix(f.Path, "builtin/rules/"); ok {
		return embedded.ReadFile(name)
	}
	data, issue := diag.ReadText(f.Path)
	if issue != nil {
		return nil, issue
	}
	return data, nil
}
