package rules

import (
	"runtime"
	"testing"

	"zmlx-rewrite/kernels"
)

// Any bytes as a rule file: no crash, no hang, memory in proportion, and every error
// is at a place in the file.
func FuzzRules(f *testing.F) {
	catalog, issues := kernels.Load()
	if issues.HasErrors() {
		f.Fatal(issues)
	}
	for _, name := range Embedded() {
		data, err := embedded.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	common, issues := Parse("common.yaml", mustRead(f, "common.yaml"))
	if issues.HasErrors() {
		f.Fatal(issues)
	}
	for _, s := range []string{"zmlx: 1\nfamily: &a x\nrules: *a\n", "zmlx: 1\nfamily: f\nfragments:\n  f(x): abs(f(x))\n",
		"zmlx: 1\nfamily: f\nrules:\n  - name: r\n    doc: d\n    match: {'a, b': kernel.add_rms_norm(x, r?, w, ...)}\n    results: [a]\n    guards: {g: '!training'}\n    cost: {c: {when: rows(x) > 1, source: s}}\n    weights: {p: split(w, axis=-1, start=0, stop=$k)}\n    replace: {'a, b': kernel.add_rms_norm(x, r, w, eps=$e)}\n    numerics: lossy\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		file, issues := Parse("fuzz.yaml", data)
		if file != nil {
			_, list := Link([]*File{common, file}, catalog)
			issues = append(issues, list...)
		}
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(64*len(data)+16<<20); got > limit {
			t.Errorf("%d bytes of memory for a file of %d", got, len(data))
		}
		lines := 2
		for _, b := range data {
			if b == '\n' {
				lines++
			}
		}
		for _, i := range issues {
			if i.Code == "" || i.Pos.File != "fuzz.yaml" || i.Pos.Line > lines || i.Pos.Line < 0 || i.Pos.Col < 0 {
				t.Errorf("%v at %+v", i, i.Pos)
			}
		}
	})
}

func mustRead(f *testing.F, name string) []byte {
	data, err := embedded.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	return data
}
