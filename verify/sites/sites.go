// Package sites compares what rules put into a program with what stood there, one
// replacement at a time, on the device where it will run: the matched nodes as MLX's own
// ops and the replacement, on the model's own weights and on the same inputs. Both are
// held against the matched nodes computed in float32.
//
// It plans nothing, prints nothing, and does not say what becomes of a replacement that
// failed. What passed was seen to be right on the inputs that were tried, on this device,
// and is proven nowhere.
package sites

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"zmlx-rewrite/rewrite"
	"zmlx-rewrite/rules"
)

// Replacement is what a rule does to matches of one kind, wherever they are.
type Replacement struct {
	Rule *rules.Rule
	Key  string // hash of both graphs and the contract, hex
	Uses []Use  // in the order of the plan
}

// Use is a site of a replacement.
type Use struct {
	*rewrite.Site
	Case string
}

// Elements returns how many elements the parameters have that a call reads.
func (r *Replacement) Elements() int64 {
	p, err := r.Uses[0].Pair(true)
	if err != nil {
		return 0
	}
	sum := int64(0)
	for _, l := range p.Leaves {
		if n, ok := l.Type.Size().Const(); ok && l.Param != "" {
			sum += n
		}
	}
	return sum
}

// Scope returns where the replacement stands first.
func (r *Replacement) Scope() string { return r.Uses[0].Scope }

// Cases returns the names of the cases that have it.
func (r *Replacement) Cases() []string {
	var list []string
	for _, u := range r.Uses {
		if !slices.Contains(list, u.Case) {
			list = append(list, u.Case)
		}
	}
	return list
}

// Places returns one use for each scope: a layer that has it in several cases has it once.
func (r *Replacement) Places() []Use {
	seen := map[string]bool{}
	var list []Use
	for _, u := range r.Uses {
		if !seen[u.Scope] {
			seen[u.Scope] = true
			list = append(list, u)
		}
	}
	return list
}

// Distinct returns the distinct replacements of a plan in its order: sites of one rule
// whose graphs are the same but for the names of parameters are one.
func Distinct(res *rewrite.Result) ([]*Replacement, error) {
	byKey := map[string]*Replacement{}
	var list []*Replacement
	for i := range res.Cases {
		c := &res.Cases[i]
		for k := range c.Sites {
			s := &c.Sites[k]
			p, err := s.Pair(false)
			if err != nil {
				return nil, fmt.Errorf("%s at %s: %w", s.Rule.Name, s.Scope, err)
			}
			key := keyOf(s.Rule, p)
			if byKey[key] == nil {
				byKey[key] = &Replacement{Rule: s.Rule, Key: key}
				list = append(list, byKey[key])
			}
			byKey[key].Uses = append(byKey[key].Uses, Use{s, c.Name})
		}
	}
	return list, nil
}

func keyOf(r *rules.Rule, p *rewrite.Pair) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n", r.Name, r.Numerics, p.Before.Hash(), p.After.Hash())
	return hex.EncodeToString(h.Sum(nil))
}
