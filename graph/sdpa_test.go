package graph

import (
	"strings"
	"testing"
)

// TestSinksOfAllHeads: attention has a sink for each head of the queries.
func TestSinksOfAllHeads(t *testing.T) {
	for heads, good := range map[string]bool{"4": true, "2": false, "1": false, "4, 1": false} {
		text := "zmlx 1\nprogram p\ncase all\n  input q : float32[1, 4, 1, 8]\n  input k : float32[1, 2, 5, 8]\n  input s : float32[" + heads + "]\n" +
			"  y = sdpa(q, k, k, none, s, scale=1.0) : float32[1, 4, 1, 8]\n  output y = y\n"
		_, issues := ParseText("p.zg", []byte(text), nil)
		if issues.HasErrors() == good {
			t.Errorf("sinks of shape [%s]: %v", heads, issues)
		}
		if !good && !strings.Contains(issues.Error(), "sinks") {
			t.Errorf("sinks of shape [%s]: %v", heads, issues)
		}
	}
}

// TestMaskOfAllScores: what is added to scores has no other shape than these.
func TestMaskOfAllScores(t *testing.T) {
	for shape, good := range map[string]bool{"1, 4, 1, 3": true, "3": true, "1, 1, 1, 3": true, "1, 4, 1, 5": false, "1, 2, 1, 3": false, "1, 1, 4, 1, 3": false, "1, 4, 2, 3": false} {
		text := "zmlx 1\nprogram p\ncase all\n  input q : float32[1, 4, 1, 8]\n  input k : float32[1, 2, 5, 8]\n  input m : float32[" + shape + "]\n" +
			"  y = sdpa(q, k, k, m, scale=1.0, mask=\"array\", kv_len=3) : float32[1, 4, 1, 8]\n  output y = y\n"
		_, issues := ParseText("p.zg", []byte(text), nil)
		if issues.HasErrors() == good {
			t.Errorf("a mask of shape [%s]: %v", shape, issues)
		}
	}
}
