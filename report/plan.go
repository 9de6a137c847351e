// Package report turns results into what people and programs read: tables and
// JSON. It computes nothing of its own.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"zmlx-rewrite/measure/ledger/choose"
	"zmlx-rewrite/profiles"
	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// Plan is the account of one case of one model: what rules did, and where they
// did not apply and why. Its JSON form is a contract: fields may be added, these stay.
type Plan struct {
	Version   int       `json:"version" jsonschema:"of this form: 1"`
	Profile   string    `json:"profile" jsonschema:"of rules"`
	Preset    string    `json:"preset" jsonschema:"inference, training, minimal or all"`
	Model     string    `json:"model" jsonschema:"as it was named"`
	Target    string    `json:"target" jsonschema:"that the plan is for"`
	Case      string    `json:"case" jsonschema:"of the program"`
	When      string    `json:"when" jsonschema:"condition of the case"`
	KVCache   *KVCache  `json:"kv_cache,omitempty" jsonschema:"how keys and values are kept in both graphs; absent if they are as the model computes them"`
	Graph     GraphInfo `json:"graph" jsonschema:"before"`
	Rewritten GraphInfo `json:"rewritten" jsonschema:"after"`
	Launches  Launches  `json:"launches" jsonschema:"of one call"`
	Stated    *Launches `json:"expected_launches,omitempty" jsonschema:"that the profile states"`
	Looked    bool      `json:"looked,omitempty" jsonschema:"the rules were looked at on this device: what their states say was found there"`
	Numerics  string    `json:"numerics" jsonschema:"the worst of the rules that were applied"`
	Stop      string    `json:"stop" jsonschema:"why the rewriting ended"`
	Rules     []Rule    `json:"rules" jsonschema:"in order of preference"`
}

// KVCache is a quantized cache of keys and values. It is made in front of the rules, and
// is lossy by itself, whatever they promise.
type KVCache struct {
	Bits      int `json:"bits" jsonschema:"of an element"`
	GroupSize int `json:"group_size" jsonschema:"elements of a row that share a scale"`
	Caches    int `json:"caches" jsonschema:"that are quantized: keys and values of each layer of attention"`
}

// GraphInfo identifies a graph.
type GraphInfo struct {
	Nodes int    `json:"nodes" jsonschema:"of it"`
	Hash  string `json:"hash" jsonschema:"of it"`
}

// Launches are kernel launches for one call.
type Launches struct {
	Before int `json:"before" jsonschema:"the rewrite"`
	After  int `json:"after" jsonschema:"the rewrite"`
}

// Rule is what one rule did in a case.
type Rule struct {
	Name       string       `json:"name" jsonschema:"full name"`
	Source     string       `json:"source" jsonschema:"file that the rule was read from"`
	Hash       string       `json:"hash" jsonschema:"of the rule"`
	Matches    int          `json:"matches" jsonschema:"places where it was applied"`
	Expected   *int         `json:"expected" jsonschema:"that the profile states; null if it states none"`
	Kernel     string       `json:"kernel" jsonschema:"that it puts in place, if any"`
	Runs       string       `json:"runs" jsonschema:"the target, or reference if a kernel has no source for it; empty without a kernel"`
	Numerics   string       `json:"numerics" jsonschema:"how results may differ"`
	Off        string       `json:"off,omitempty" jsonschema:"why it is off; absent if it is on"`
	Sites      []Site       `json:"sites" jsonschema:"where it was applied"`
	NearMisses []Miss       `json:"near_misses" jsonschema:"where it was not, and why, the nearest first"`
	State      string       `json:"state,omitempty" jsonschema:"what is known of the rule on this device, and whether it is on"`
	Gain       *choose.Gain `json:"gain,omitempty" jsonschema:"measured there"`
	Capsule    string       `json:"capsule,omitempty" jsonschema:"that the gain was taken from: measured on another such device"`
}

// Site is one place where a rule was applied.
type Site struct {
	Scope  string            `json:"scope" jsonschema:"part of the model"`
	Guards map[string]string `json:"guards" jsonschema:"each condition, with the values that it was true for"`
	Case   string            `json:"case" jsonschema:"of the program"`
	Saved  int               `json:"saved" jsonschema:"launches"`
}

// Miss is one place where a rule nearly applied.
type Miss struct {
	Scope    string `json:"scope" jsonschema:"part of the model"`
	Code     string `json:"code" jsonschema:"of the reason, stable"`
	Line     string `json:"line,omitempty" jsonschema:"of the rule that did not match"`
	Guard    string `json:"guard,omitempty" jsonschema:"that was false"`
	Matched  int    `json:"matched" jsonschema:"ops of the pattern that did match"`
	Of       int    `json:"of" jsonschema:"ops of the pattern"`
	Expected string `json:"expected" jsonschema:"at the place where it ended"`
	Observed string `json:"observed" jsonschema:"there"`
}

// NewPlan makes the account of one case of a result. expect is nil where nothing
// is known of the model.
func NewPlan(res *rewrite.Result, c *rewrite.CaseResult, cfg *rewrite.Config, model, profile, preset string, expect *profiles.Expectation) *Plan {
	p := &Plan{Version: 1, Profile: profile, Preset: preset, Model: model, Target: cfg.Setting.Target, Case: c.Name, When: c.When.String(),
		Graph:     GraphInfo{c.Before.NumNodes(), c.Before.Hash().String()},
		Rewritten: GraphInfo{c.After.NumNodes(), c.After.Hash().String()},
		Launches:  Launches{c.Before.Launches(), c.After.Launches()},
		Numerics:  string(c.Numerics()), Stop: res.Stop, Rules: []Rule{}}
	var counts map[string]int
	if expect != nil {
		counts = expect.Rules
		if e := expect.Launches; e != nil {
			p.Stated = &Launches{e.Before, e.After}
		}
	}
	for _, r := range cfg.Rules {
		p.Rules = append(p.Rules, newRule(r, c, cfg, counts))
	}
	return p
}

func newRule(r *rules.Rule, c *rewrite.CaseResult, cfg *rewrite.Config, expect map[string]int) Rule {
	out := Rule{Name: r.Name, Source: r.File.Path, Hash: r.Hash, Kernel: strings.Join(r.Kernels, ", "), Numerics: string(r.Numerics), Off: cfg.Off[r.Name], Sites: []Site{}, NearMisses: []Miss{}}
	if out.Kernel != "" {
		out.Runs = cfg.Setting.Target
		for _, k := range r.Kernels {
			if s := cfg.Set.Kernels.Spec(k); s != nil && !s.RunsOn(cfg.Setting.Target) {
				out.Runs = "reference"
			}
		}
	}
	if n, ok := expect[r.Name]; ok && out.Off == "" {
		out.Expected = &n
	}
	for _, s := range c.Sites {
		if s.Rule != r {
			continue
		}
		out.Matches++
		site := Site{Scope: s.Scope, Guards: map[string]string{}, Case: c.Name, Saved: s.Saved}
		for _, g := range s.Guards {
			site.Guards[g.Name] = g.Values()
		}
		out.Sites = append(out.Sites, site)
	}
	for _, x := range Nearest(c, r) {
		expected, observed := x.Detail()
		out.NearMisses = append(out.NearMisses, Miss{Scope: x.Scope, Code: x.Code, Line: x.Line(), Guard: x.Guard, Matched: x.Matched, Of: x.Of, Expected: expected, Observed: observed})
	}
	return out
}

// Nearest returns where a rule did not apply in a case, the places that got
// furthest first.
func Nearest(c *rewrite.CaseResult, r *rules.Rule) []*rewrite.Refusal {
	list := c.Refusals(r)
	slices.SortStableFunc(list, func(a, b *rewrite.Refusal) int { return b.Matched*a.Of - a.Matched*b.Of })
	return list
}

// JSON writes the plan as one line.
func (p *Plan) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(p)
}

// Unmet returns what rules were expected to do and did not; nothing if all
// expectations hold.
func (p *Plan) Unmet() []string {
	var list []string
	for _, r := range p.Rules {
		if r.Expected == nil || *r.Expected == r.Matches {
			continue
		}
		text := fmt.Sprintf("%s: rule %s matches %d times, %d expected", p.Model, r.Name, r.Matches, *r.Expected)
		if len(r.NearMisses) > 0 {
			text += "; nearest miss: " + r.NearMisses[0].String()
		}
		list = append(list, text)
	}
	if s := p.Stated; s != nil && *s != p.Launches {
		list = append(list, fmt.Sprintf("%s: launches %s, %s expected", p.Model, p.Launches, *s))
	}
	return list
}

// String prints what becomes of the launches.
func (l Launches) String() string { return fmt.Sprintf("%d → %d", l.Before, l.After) }

// Matches returns how often rules were applied in all.
func (p *Plan) Matches() int {
	n := 0
	for _, r := range p.Rules {
		n += r.Matches
	}
	return n
}

// String prints a miss on one line.
func (m *Miss) String() string {
	where := ""
	if m.Line != "" {
		where = " at line " + m.Line
	}
	if m.Guard != "" {
		where = " at guard " + m.Guard
	}
	return fmt.Sprintf("%s: %d of %d ops match, then%s [%s] expected %s, observed %s", scopeOr(m.Scope), m.Matched, m.Of, where, m.Code, m.Expected, m.Observed)
}

func scopeOr(s string) string {
	if s == "" {
		return "the graph"
	}
	return s
}

// Text writes the plan for people.
func (p *Plan) Text(w io.Writer) {
	fmt.Fprintf(w, "%s · case %s (%s) · profile %s · target %s\n", p.Model, p.Case, p.When, p.Profile, p.Target)
	if kv := p.KVCache; kv != nil {
		fmt.Fprintf(w, "  keys and values are kept in %d bits in groups of %d, in %d caches; that is lossy, and no rule's doing\n", kv.Bits, kv.GroupSize, kv.Caches)
	}
	width := len("rule")
	for _, r := range p.Rules {
		width = max(width, len(r.Name))
	}
	fmt.Fprintf(w, "  %-*s  %7s  %8s  %-9s  %s\n", width, "rule", "matches", "expected", "numerics", "kernel")
	for _, r := range p.Rules {
		expected := "-"
		if r.Expected != nil {
			expected = fmt.Sprint(*r.Expected)
		}
		kernel := r.Kernel
		if kernel != "" {
			kernel += " (kernel: " + r.Runs + ")"
		}
		if r.Off != "" {
			kernel = "off: " + r.Off
		}
		if r.Gain != nil && !strings.Contains(r.Off, r.Gain.String()) {
			kernel = strings.TrimPrefix(fmt.Sprintf("%s · %s: %s", kernel, r.State, r.Gain), " · ")
		}
		fmt.Fprintf(w, "  %-*s  %7d  %8s  %-9s  %s\n", width, r.Name, r.Matches, expected, r.Numerics, kernel)
		if r.Matches == 0 && len(r.NearMisses) > 0 && r.Off == "" {
			fmt.Fprintf(w, "  %*s  nearest: %s\n", width, "", r.NearMisses[0].String())
		}
	}
	fmt.Fprintf(w, "  launches %s, nodes %d → %d, numerics %s\n", p.Launches, p.Graph.Nodes, p.Rewritten.Nodes, p.Numerics)
}
