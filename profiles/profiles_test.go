package profiles

import (
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rules"
)

func set(t testing.TB) *rules.Set {
	c, issues := kernels.Load()
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	s, issues := rules.Load("", nil, c)
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	return s
}

// Every rule of a built-in profile exists, and every expectation is about one of them.
func TestBuiltIn(t *testing.T) {
	s := set(t)
	all, issues := Load("")
	if issues.HasErrors() || len(all) == 0 {
		t.Fatal(len(all), issues)
	}
	for _, p := range all {
		if issues := p.Check(s); issues.HasErrors() {
			t.Error(issues)
		}
		for _, e := range p.Expect {
			for name := range e.Rules {
				if !slices.ContainsFunc(p.Rules, func(u Use) bool { return u.Rule == name }) {
					t.Errorf("%s expects matches of %s, which it does not use", p.Name, name)
				}
			}
		}
	}
}

func TestChoose(t *testing.T) {
	s := set(t)
	p, issues := Parse("p.yaml", []byte("zmlx: 1\nprofile: p\ndoc: d\nrules:\n  - llama.swiglu\n  - llama.qkv\n  - {rule: llama.qk_rope, off: {cuda: slow, all: ''}}\n"))
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	for _, x := range []struct {
		preset, target string
		force          []string
		off            string // rules that are off
	}{
		{"inference", "cpu", nil, ""},
		{"inference", "cuda", nil, "llama.qk_rope"},
		{"inference", "cuda", []string{"qk_rope"}, ""},
		{"all", "cuda", nil, ""},
		{"minimal", "cpu", nil, "llama.qk_rope llama.qkv"},
		{"minimal", "cpu", []string{"llama.qkv"}, "llama.qk_rope"},
		{"training", "cpu", nil, "llama.qk_rope"}, // kernel.swiglu has a gradient
	} {
		c := p.Choose(s, x.preset, x.target, x.force)
		var off []string
		for name := range c.Off {
			off = append(off, name)
		}
		slices.Sort(off)
		if got := strings.Join(off, " "); got != x.off || len(c.Rules) != 3 {
			t.Errorf("%s on %s, force %v: off %q of %d rules, want %q", x.preset, x.target, x.force, got, len(c.Rules), x.off)
		}
	}
}

// Any bytes as a profile: no crash, no hang, memory in proportion.
func FuzzProfile(f *testing.F) {
	names, err := fs.Glob(embedded, "*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := embedded.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("zmlx: 1\nprofile: p\ndoc: d\nmodels: [a, {b: c}]\nrules: [{rule: x, off: {cpu: [y]}}, z, z]\nexpect: [{model: m, dims: {a: 99999999999999999999}, rules: {x: -1}}]\n"))
	s := set(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, issues := Parse("fuzz.yaml", data)
		if (p == nil) != issues.HasErrors() {
			t.Errorf("a profile and errors, or neither: %v", issues)
		}
		if p != nil {
			p.Check(s)
			for _, preset := range Presets {
				p.Choose(s, preset, "cpu", nil)
			}
		}
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(64*len(data)+16<<20); got > limit {
			t.Errorf("%d bytes of memory for a file of %d", got, len(data))
		}
	})
}

// A contract holds on its own targets; elsewhere the model is there without one.
func TestExpected(t *testing.T) {
	p, issues := Parse("p.yaml", []byte(`zmlx: 1
profile: p
doc: d
rules: [a.b]
expect:
  - {model: m, targets: [cpu, metal], dims: {batch: 1}, rules: {a.b: 1}}
  - {model: m, targets: [cuda], dims: {batch: 1}, rules: {a.b: 2}}
  - {model: n, targets: [cuda], dims: {batch: 1}, rules: {a.b: 3}}
  - {model: o, dims: {batch: 1}, rules: {a.b: 4}}
`))
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	for target, want := range map[string]string{"cpu": "m=1 n=- o=4", "cuda": "m=2 n=3 o=4", "metal": "m=1 n=- o=4"} {
		var got []string
		for _, e := range p.Expected(target) {
			n := "-"
			if e.Rules != nil {
				n = fmt.Sprint(e.Rules["a.b"])
			}
			got = append(got, e.Model+"="+n)
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("on %s: %s, want %s", target, s, want)
		}
	}
	if _, issues := Parse("p.yaml", []byte("zmlx: 1\nprofile: p\ndoc: d\nrules: [a.b]\nexpect:\n  - {model: m, targets: [gpu], dims: {}, rules: {}}\n")); !strings.Contains(issues.Error(), "profile/unknown-target") {
		t.Errorf("a target that is none: %v", issues)
	}
}
