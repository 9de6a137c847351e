package kvring

import (
	"errors"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/models"
)

// TestPrograms: rings make valid programs in normal form, or are refused by name. (That
// they compute what mlx-lm computes is in package decode's TestRings.)
func TestPrograms(t *testing.T) {
	for _, x := range []struct {
		name string
		rows int
		code string
	}{
		{"Qwen3-0.6B-4bit", 512, ""}, {"Mixtral-8x7B-v0.1-4bit", 5, ""}, {"LFM2-1.2B-4bit", 100, ""}, {"Qwen3-Coder-Next-4bit", 100, ""},
		{"Qwen3-0.6B-4bit", 4, "kv/size"}, {"gpt-oss-20b", 512, "kv/window"}, {"gemma-2-9b-it", 512, "kv/reader"}, {"GLM-4.7-Flash-4bit", 512, "kv/reader"},
	} {
		t.Run(x.name, func(t *testing.T) {
			cfg, ok := models.ReferenceConfig(x.name)
			if !ok {
				t.Fatal("no such configuration")
			}
			p, err := models.Build(cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			q, err := Program(p, x.rows)
			var issue *diag.Issue
			if x.code != "" {
				if !errors.As(err, &issue) || issue.Code != x.code || issue.Hint == "" {
					t.Errorf("%v, want %s", err, x.code)
				}
				return
			}
			if err == nil {
				err = q.Verify()
			}
			if err != nil {
				t.Fatal(err)
			}
			if q.Window != x.rows {
				t.Errorf("the window is %d", q.Window)
			}
			for _, c := range q.Cases {
				if counts, err := normal.Form(c.Graph); err != nil || counts.Total() > 0 {
					t.Errorf("case %s is not in normal form: %v, %v", c.Name, counts, err)
				}
				for i := range c.Graph.NumNodes() {
					n := c.Graph.Node(graph.NodeID(i))
					if d, ok := n.Attr("kv_len").(graph.Dim); ok && d != graph.Sym(graph.SymWindowLen) {
						t.Errorf("case %s: attention sees %s rows", c.Name, d)
					}
				}
			}
			if _, err := Program(q, 9); err == nil {
				t.Error("rings are made of rings")
			}
		})
	}
}
