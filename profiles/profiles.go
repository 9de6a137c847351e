// Package profiles says, for each family of models, which rules are used, where
// they are off and why, and how often each must match on the reference models.
//
// A profile is profiles/NAME.yaml. Its expectations are contracts: a rule that
// matches more or less often than written fails loudly, with the nearest miss.
// This package knows nothing of how matching works.
package profiles

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rules"
)

// Profile is a parsed profile.
type Profile struct {
	Name    string
	Doc     string
	Source  string
	Hash    string   // sha256 of the file, hex
	Builtin bool     // the same bytes as the file that is built in
	Models  []string // Hugging Face model_type values that it is for
	Rules   []Use    // in order of preference
	KV      *KV      // nil: not stated
	Expect  []Expectation
}

// Use is a rule of a profile.
type Use struct {
	Rule string // full name
	// Off gives the targets where the rule is not used ("cpu", "cuda", "metal", or
	// "all"), with the reason.
	Off map[string]string
	pos diag.Pos
}

// Expectation is a fire contract: how often rules match on a reference model, in
// the case that the given dimensions select, and what becomes of its launches.
type Expectation struct {
	Model    string   // name of a reference configuration
	Targets  []string // where it holds; all if there are none
	Dims     map[string]int64
	Rules    map[string]int // full name -> matches
	Launches *Launches      // nil if not stated
	Pos      diag.Pos
}

// Launches are kernel launches of one call.
type Launches struct{ Before, After int }

// Expected returns the fire contracts on a target. A model of which others only are
// known has one without rules.
func (p *Profile) Expected(target string) []Expectation {
	holds := func(e Expectation) bool { return len(e.Targets) == 0 || slices.Contains(e.Targets, target) }
	var all []Expectation
	for i, e := range p.Expect {
		same := func(o Expectation) bool { return o.Model == e.Model }
		switch {
		case holds(e):
			all = append(all, e)
		case !slices.ContainsFunc(p.Expect, func(o Expectation) bool { return same(o) && holds(o) }) && !slices.ContainsFunc(p.Expect[:i], same):
			all = append(all, Expectation{Model: e.Model, Dims: e.Dims, Pos: e.Pos})
		}
	}
	return all
}

// Targets are where a rewritten model can run.
var Targets = []string{"cpu", "cuda", "metal"}

// Presets are the ways of choosing among a profile's rules.
var Presets = []string{"inference", "training", "minimal", "all"}

// Choice is the rules of a profile for one setting.
type Choice struct {
	Rules []*rules.Rule
	Off   map[string]string // rules that are matched but not applied, with the reason
}

// Choose returns the rules that a preset uses on a target. "inference" is what
// the profile says; "minimal" only rules that change no bit; "training" only
// rules whose kernels have a gradient; "all" every rule, also
// those that are off. force turns single rules on.
func (p *Profile) Choose(set *rules.Set, preset, target string, force []string) Choice {
	c := Choice{Off: map[string]string{}}
	for _, u := range p.Rules {
		r := set.Rule(u.Rule)
		if r == nil {
			continue // Load has reported it
		}
		c.Rules = append(c.Rules, r)
		reason := u.Off["all"]
		if reason == "" {
			reason = u.Off[target]
		}
		switch preset {
		case "all":
			reason = ""
		case "minimal":
			if r.Numerics != kernels.Exact {
				reason = "preset minimal takes only rules that are exact; this one is " + string(r.Numerics)
			}
		case "training":
			for _, k := range r.Kernels {
				if s := set.Kernels.Spec(k); s == nil || len(s.Gradient) == 0 {
					reason = "preset training takes only rules with gradients; kernel " + k + " has none"
					break
				}
			}
		}
		if reason == "" && r.Numerics == kernels.Lossy {
			reason = "lossy rules are never on by default"
		}
		if reason != "" && !slices.Contains(force, r.Name) && !slices.Contains(force, r.Short()) {
			c.Off[r.Name] = reason
		}
	}
	return c
}

//go:embed *.yaml
var embedded embed.FS

// Load reads the built-in profiles and over them, by name, those in the folder
// "profiles" of dir, if dir is not "". Whether a profile's rules exist is for Check:
// a rule that somebody took out must not stop the profiles that do without it.
func Load(dir string) ([]*Profile, diag.List) {
	var issues diag.List
	type source struct {
		path string
		data []byte
	}
	files := map[string]source{}
	names, _ := fs.Glob(embedded, "*.yaml")
	for _, name := range names {
		data, _ := embedded.ReadFile(name)
		files[name] = source{"builtin/profiles/" + name, data}
	}
	if dir != "" {
		found, _ := filepath.Glob(filepath.Join(dir, "profiles", "*.yaml"))
		for _, path := range found {
			data, issue := diag.ReadText(path)
			if issue != nil {
				issues.Add(issue)
				continue
			}
			if strings.HasPrefix(string(data), "zmlx:") || strings.Contains(string(data), "\nzmlx:") {
				files[filepath.Base(path)] = source{filepath.ToSlash(path), data}
			}
		}
	}
	var all []*Profile
	for name, src := range files {
		p, list := Parse(src.path, src.data)
		issues = append(issues, list...)
		if p == nil {
			continue
		}
		own, err := embedded.ReadFile(name)
		p.Builtin = err == nil && bytes.Equal(own, src.data)
		if want := strings.TrimSuffix(name, ".yaml"); p.Name != want {
			issues.Add(diag.Errorf("profile/name", diag.Pos{File: src.path}, "profile %s must be in a file of its own name", p.Name))
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Profile) int { return strings.Compare(a.Name, b.Name) })
	issues.Sort()
	return all, issues
}

// Check reports rules of the profile that are not in the set.
func (p *Profile) Check(set *rules.Set) diag.List {
	var issues diag.List
	var known []string
	for _, r := range set.Rules() {
		known = append(known, r.Name)
	}
	unknown := func(name string, pos diag.Pos) {
		i := diag.Errorf("profile/unknown-rule", pos, "no rule %s", name)
		if near := diag.Nearest(name, known); near != "" {
			i.WithHint("did you mean %s?", near)
		}
		issues.Add(i)
	}
	for _, u := range p.Quantized().Rules {
		if !slices.Contains(known, u.Rule) {
			unknown(u.Rule, u.pos)
		}
	}
	for _, e := range p.Expect {
		for _, name := range slices.Sorted(maps.Keys(e.Rules)) {
			if !slices.Contains(known, name) {
				unknown(name, e.Pos)
			}
		}
	}
	issues.Sort()
	return issues
}

// Parse reads one profile and reports all its errors.
func Parse(file string, data []byte) (*Profile, diag.List) {
	root, issues := diag.ReadYAML(file, data)
	if root == nil || issues.HasErrors() {
		return nil, issues
	}
	sum := sha256.Sum256(data)
	p := &Profile{Source: file, Hash: hex.EncodeToString(sum[:])}
	issues.Add(root.Known("profile/unknown-key", "zmlx", "profile", "doc", "models", "rules", "kv_cache", "expect")...)
	if root.Kind != diag.Map {
		return nil, issues
	}
	issues.Add(diag.CheckVersion(root))
	text := func(key string, to *string) {
		n := root.Get(key)
		if n == nil {
			issues.Add(root.Errorf("profile/missing-key", "key %q is missing", key))
			return
		}
		var issue *diag.Issue
		*to, issue = n.Str()
		issues.Add(issue)
	}
	text("profile", &p.Name)
	text("doc", &p.Doc)
	if n := root.Get("models"); n != nil {
		for _, item := range n.Items {
			p.Models = append(p.Models, item.Text)
		}
	}
	if n := root.Get("rules"); n == nil || n.Kind != diag.Seq {
		issues.Add(root.Errorf("profile/missing-key", "key \"rules\", a list, is missing"))
	} else {
		for _, item := range n.Items {
			p.Rules = append(p.Rules, p.use(item, &issues))
		}
	}
	if n := root.Get("kv_cache"); n != nil {
		p.KV = p.readKV(n, &issues)
	}
	if n := root.Get("expect"); n != nil {
		for _, item := range n.Items {
			p.expectation(item, &issues)
		}
	}
	if issues.HasErrors() {
		return nil, issues
	}
	return p, issues
}

func (p *Profile) use(n *diag.Node, issues *diag.List) Use {
	u := Use{Off: map[string]string{}, pos: n.Pos}
	switch n.Kind {
	case diag.Scalar:
		u.Rule = n.Text
	case diag.Map:
		issues.Add(n.Known("profile/unknown-key", "rule", "off")...)
		if r := n.Get("rule"); r != nil {
			u.Rule = r.Text
		} else {
			issues.Add(n.Errorf("profile/missing-key", "key \"rule\" is missing"))
		}
		if off := n.Get("off"); off != nil {
			issues.Add(off.Known("profile/unknown-target", append([]string{"all"}, Targets...)...)...)
			for i, k := range off.Keys {
				u.Off[k.Text] = off.Vals[i].Text
			}
		}
	default:
		issues.Add(n.Errorf("yaml/type", "expected the name of a rule, found a %s", n.Kind))
	}
	for _, o := range p.Rules {
		if o.Rule == u.Rule {
			issues.Add(n.Errorf("profile/duplicate", "rule %s is listed twice", u.Rule))
		}
	}
	return u
}

func (p *Profile) expectation(n *diag.Node, issues *diag.List) {
	issues.Add(n.Known("profile/unknown-key", "model", "targets", "dims", "rules", "launches")...)
	if n.Kind != diag.Map {
		return
	}
	e := Expectation{Pos: n.Pos, Dims: map[string]int64{}, Rules: map[string]int{}}
	if m := n.Get("model"); m != nil {
		e.Model = m.Text
	} else {
		issues.Add(n.Errorf("profile/missing-key", "key \"model\" is missing"))
	}
	if m := n.Get("targets"); m != nil {
		if m.Kind != diag.Seq {
			issues.Add(m.Errorf("profile/unknown-target", "targets is a list").WithHint("targets: %s", strings.Join(Targets, ", ")))
		}
		for _, item := range m.Items {
			if !slices.Contains(Targets, item.Text) {
				issues.Add(item.Errorf("profile/unknown-target", "no target %q", item.Text).WithHint("targets: %s", strings.Join(Targets, ", ")))
			}
			e.Targets = append(e.Targets, item.Text)
		}
	}
	ints := func(key string, add func(string, int64)) {
		m := n.Get(key)
		if m == nil {
			issues.Add(n.Errorf("profile/missing-key", "key %q is missing", key))
			return
		}
		for i, k := range m.Keys {
			v, issue := m.Vals[i].Int()
			issues.Add(issue)
			add(k.Text, v)
		}
	}
	ints("dims", func(k string, v int64) { e.Dims[k] = v })
	ints("rules", func(k string, v int64) { e.Rules[k] = int(v) })
	if m := n.Get("launches"); m != nil {
		e.Launches = readLaunches(m, issues)
	}
	p.Expect = append(p.Expect, e)
}

func readLaunches(n *diag.Node, issues *diag.List) *Launches {
	issues.Add(n.Known("profile/unknown-key", "before", "after")...)
	number := func(key string) int {
		m := n.Get(key)
		if m == nil {
			issues.Add(n.Errorf("profile/missing-key", "key %q is missing", key))
			return 0
		}
		v, issue := m.Int()
		issues.Add(issue)
		return int(v)
	}
	return &Launches{Before: number("before"), After: number("after")}
}
