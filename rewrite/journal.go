package rewrite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// Journal is the account of a rewrite that can be kept, compared and replayed. It
// holds no time and no path, so that the same rewrite gives the same bytes.
type Journal struct {
	Version int           `json:"zmlx"`
	Program string        `json:"program"`
	Target  string        `json:"target"`
	Before  string        `json:"before"` // hash of the program as loaded
	After   string        `json:"after"`
	Rules   []JournalRule `json:"rules"`
	Cases   []JournalCase `json:"cases"`
	Stop    string        `json:"stop"`
}

// JournalRule is a rule that took part, with what its meaning depends on.
type JournalRule struct {
	Name     string            `json:"name"`
	Hash     string            `json:"hash"`
	Numerics string            `json:"numerics"`
	Kernels  map[string]string `json:"kernels,omitempty"` // name -> hash of the spec
	Off      string            `json:"off,omitempty"`
}

// JournalCase is one case of the result.
type JournalCase struct {
	From    string         `json:"from"`
	Name    string         `json:"name"`
	When    string         `json:"when"`
	Entries []JournalEntry `json:"entries"`
}

// JournalEntry is one rule applied at one site.
type JournalEntry struct {
	Rule   string            `json:"rule"`
	Scope  string            `json:"scope"`
	Round  int               `json:"round"`
	Values map[string]string `json:"values"`           // names of the pattern -> hash of the value
	Vars   map[string]string `json:"vars,omitempty"`   // $variables
	Guards map[string]string `json:"guards,omitempty"` // name -> values that it saw
	Params []string          `json:"params,omitempty"` // parameters made
	Saved  int               `json:"saved"`            // launches
}

// Journal writes the account down.
func (r *Result) Journal(cfg *Config) *Journal {
	j := &Journal{Version: diag.FormatVersion, Program: r.Before.Name, Target: cfg.Setting.Target,
		Before: r.Before.Hash().String(), After: r.Program.Hash().String(), Stop: r.Stop}
	for _, rule := range cfg.Rules {
		jr := JournalRule{Name: rule.Name, Hash: rule.Hash, Numerics: string(rule.Numerics), Off: cfg.Off[rule.Name]}
		for _, k := range rule.Kernels {
			if s := cfg.Set.Kernels.Spec(k); s != nil {
				if jr.Kernels == nil {
					jr.Kernels = map[string]string{}
				}
				jr.Kernels[k] = s.Hash
			}
		}
		j.Rules = append(j.Rules, jr)
	}
	hashes := map[*graph.Graph][]graph.Hash{}
	for _, c := range r.Cases {
		jc := JournalCase{From: c.From, Name: c.Name, When: c.When.String(), Entries: []JournalEntry{}}
		for _, s := range c.Sites {
			if hashes[s.graph] == nil {
				hashes[s.graph] = s.graph.ValueHashes()
			}
			e := JournalEntry{Rule: s.Rule.Name, Scope: s.Scope, Round: s.Round, Values: map[string]string{}, Saved: s.Saved}
			b := s.Match.Bindings(s.graph)
			for name, v := range b.Values {
				if v != graph.None {
					e.Values[name] = hashes[s.graph][v].String()
				}
			}
			for name, a := range b.Vars {
				if e.Vars == nil {
					e.Vars = map[string]string{}
				}
				e.Vars[name] = a.String()
			}
			for _, g := range s.Guards {
				if e.Guards == nil {
					e.Guards = map[string]string{}
				}
				e.Guards[g.Name] = g.Values()
			}
			for _, q := range s.Params {
				e.Params = append(e.Params, q.Name)
			}
			jc.Entries = append(jc.Entries, e)
		}
		j.Cases = append(j.Cases, jc)
	}
	return j
}

// Bytes returns the journal as JSON; the same journal gives the same bytes.
func (j *Journal) Bytes() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	err := enc.Encode(j)
	return b.Bytes(), err
}

// ReadJournal reads a journal, strictly.
func ReadJournal(file string, data []byte) (*Journal, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var j Journal
	if err := dec.Decode(&j); err != nil {
		return nil, diag.Errorf("journal/syntax", diag.Pos{File: file}, "not a journal: %v", err)
	}
	if j.Version != diag.FormatVersion {
		return nil, diag.Errorf("journal/version", diag.Pos{File: file}, "journal of version %d; this program reads version %d", j.Version, diag.FormatVersion)
	}
	return &j, nil
}

// Replay rewrites p again as the journal says and reports the first difference: a
// program, rule or kernel that has changed since, or a site that came out otherwise.
func (j *Journal) Replay(p *graph.Program, cfg *Config) (*Result, error) {
	bad := func(code, format string, args ...any) (*Result, error) {
		return nil, diag.Errorf(code, diag.Pos{}, format, args...)
	}
	if h := p.Hash().String(); h != j.Before {
		return bad("journal/program", "the program is %s, the journal was written for %s", h, j.Before)
	}
	now := *cfg
	now.Setting.Target, now.Rules, now.Off = j.Target, nil, map[string]string{}
	for _, jr := range j.Rules {
		r := cfg.Set.Rule(jr.Name)
		if r == nil {
			return bad("journal/rule", "rule %s is not there any more", jr.Name)
		}
		if r.Hash != jr.Hash {
			return bad("journal/rule", "rule %s has changed since the journal was written", jr.Name)
		}
		now.Rules = append(now.Rules, r)
		if jr.Off != "" {
			now.Off[jr.Name] = jr.Off
		}
	}
	res, err := Run(p, &now)
	if err != nil {
		return nil, err
	}
	again := res.Journal(&now)
	if again.After == j.After {
		return res, nil
	}
	for i, c := range again.Cases {
		if i >= len(j.Cases) || c.Name != j.Cases[i].Name {
			return bad("journal/case", "case %s is not in the journal", c.Name)
		}
		for k, e := range c.Entries {
			if k >= len(j.Cases[i].Entries) || !sameEntry(e, j.Cases[i].Entries[k]) {
				return bad("journal/site", "%s at %s in case %s is not what the journal says", e.Rule, e.Scope, c.Name)
			}
		}
	}
	return bad("journal/result", "the result is %s, the journal says %s", again.After, j.After)
}

func sameEntry(a, b JournalEntry) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// ByLayer groups scopes for people: "model.layers.0.mlp" to "model.layers.29.mlp"
// become one line with a count.
func ByLayer(scopes []string) []string {
	type group struct {
		key, first string
		n          int
	}
	var groups []*group
	for _, s := range scopes {
		parts := strings.Split(s, ".")
		for i, p := range parts {
			if p != "" && strings.Trim(p, "0123456789") == "" {
				parts[i] = "*"
				break
			}
		}
		key := strings.Join(parts, ".")
		i := slices.IndexFunc(groups, func(g *group) bool { return g.key == key })
		if i < 0 {
			groups = append(groups, &group{key: key, n: 1, first: s})
			continue
		}
		groups[i].n++
	}
	out := make([]string, len(groups))
	for i, g := range groups {
		if out[i] = g.first; g.n > 1 {
			out[i] = fmt.Sprintf("%s (%d sites)", g.key, g.n)
		}
	}
	return out
}
