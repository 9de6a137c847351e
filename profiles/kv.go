package profiles

import (
	"fmt"
	"slices"

	"zmlx-rewrite/diag"
)

// KV says whether the cache of keys and values is quantized where nobody asks for
// something else, and why.
type KV struct {
	Bits      int // 0: it is not
	GroupSize int
	Start     int // tokens from which on it is
	Why       string
	Rules     []Use // used beside the others where it is quantized
}

// mlx-lm's defaults, and what MLX can quantize to.
const (
	KVGroupSize = 64
	KVStart     = 5000
)

var (
	KVBits       = []int{2, 3, 4, 5, 6, 8}
	KVGroupSizes = []int{32, 64, 128}
)

// String is for people: "off" or "8 bits in groups of 64 from token 5000 on".
func (k *KV) String() string {
	if k.Bits == 0 {
		return "off"
	}
	return fmt.Sprintf("%d bits in groups of %d from token %d on", k.Bits, k.GroupSize, k.Start)
}

// Quantized returns the profile for a program with a quantized cache: the rules for that
// come behind the others, and the contracts, which are for plain caches, are gone.
func (p *Profile) Quantized() *Profile {
	q := *p
	q.Expect = nil
	if p.KV != nil {
		q.Rules = slices.Concat(p.Rules, p.KV.Rules)
	}
	return &q
}

// readKV reads {bits, group_size, start, why, rules}; bits 0 is off.
func (p *Profile) readKV(n *diag.Node, issues *diag.List) *KV {
	issues.Add(n.Known("profile/unknown-key", "bits", "group_size", "start", "why", "rules")...)
	k := &KV{GroupSize: KVGroupSize, Start: KVStart}
	if n.Kind != diag.Map {
		return k
	}
	number := func(key string, to *int, allowed ...int) {
		m := n.Get(key)
		if m == nil {
			return
		}
		v, issue := m.Int()
		issues.Add(issue)
		if *to = int(v); issue == nil && (v < 0 || len(allowed) > 0 && !slices.Contains(allowed, int(v))) {
			issues.Add(m.Errorf("profile/kv", "%s %d is none of %v", key, v, allowed))
		}
	}
	number("bits", &k.Bits, append([]int{0}, KVBits...)...)
	number("group_size", &k.GroupSize, KVGroupSizes...)
	number("start", &k.Start)
	for _, key := range []string{"bits", "why"} {
		if n.Get(key) == nil {
			issues.Add(n.Errorf("profile/missing-key", "key %q is missing", key))
		}
	}
	if m := n.Get("rules"); m != nil {
		for _, item := range m.Items {
			k.Rules = append(k.Rules, p.use(item, issues))
		}
	}
	if m := n.Get("why"); m != nil {
		var issue *diag.Issue
		k.Why, issue = m.Str()
		issues.Add(issue)
	}
	return k
}
