package gguf

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/models/weights"
)

const gptOSSFile = "testdata/tiny-gpt-oss.gguf"

// Every array, under both names, has the bytes that mlx-lm makes of the checkpoint that
// the file was written from, and the configuration is that of the checkpoint.
func TestGPTOSS(t *testing.T) {
	golden, err := os.ReadFile("testdata/tiny-gpt-oss.tsv")
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, gptOSSFile)
	raw, err := f.Store()
	if err != nil {
		t.Fatal(err)
	}
	hf, err := f.HF()
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(golden)), "\n")
	if len(rows) < 40 || raw.Len() != len(rows) || hf.Weights.Len() != len(rows) {
		t.Errorf("%d tensors by file name, %d by Hugging Face name, want %d", raw.Len(), hf.Weights.Len(), len(rows))
	}
	for _, row := range rows {
		c := strings.Split(row, "\t")
		for _, x := range []struct {
			name string
			t    *weights.Tensor
		}{{c[0], raw.Get(c[0])}, {c[1], hf.Weights.Get(c[1])}} {
			if x.t == nil {
				t.Errorf("no tensor %s", x.name)
				continue
			}
			if got := describe(x.t); got != c[2]+" "+c[3] {
				t.Errorf("%s is %s, want %s %s", x.name, got, c[2], c[3])
			}
			if got := sum(t, x.t); got != c[4] {
				t.Errorf("%s: sha256 %s, want %s", x.name, got, c[4])
			}
			whole := make([]byte, x.t.NumBytes())
			if err := x.t.ReadInto(whole); err != nil {
				t.Fatal(err)
			}
			for from := range min(40, len(whole)) { // wherever it cuts a block
				part := make([]byte, min(37, len(whole)-from))
				if _, err := x.t.ReadAt(part, int64(from)); err != nil || string(part) != string(whole[from:from+len(part)]) {
					t.Fatalf("%s from %d on: %v", x.name, from, err)
				}
			}
		}
	}

	want, err := os.ReadFile("testdata/tiny-gpt-oss.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(hf.Config)
	if err != nil {
		t.Fatal(err)
	}
	var g, w map[string]any
	if json.Unmarshal(got, &g) != nil || json.Unmarshal(want, &w) != nil || !reflect.DeepEqual(g, w) {
		t.Errorf("config %v\nwant   %v", g, w)
	}
}

func TestGPTOSSMutations(t *testing.T) { mutate(t, gptOSSFile) }

// What the file must say, and what mlx-lm cannot compute.
func TestGPTOSSHostile(t *testing.T) {
	sound, err := os.ReadFile(gptOSSFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, code, from, to string }{
		{"no window", "gguf/metadata", "gpt-oss.attention.sliding_window", "gpt-oss.attention.sliding_windox"},
		{"no experts", "gguf/metadata", "gpt-oss.expert_used_count", "gpt-oss.expert_user_count"},
		{"another pattern", "gguf/metadata", "gpt-oss.attention.layer_norm_rms_epsilon", "gpt-oss.attention.sliding_window_pattern"},
		{"another tensor", "gguf/unknown-tensor", "blk.0.attn_sinks.weight", "blk.0.attn_sinks.weighs"},
		{"norm of another kind", "gguf/unknown-tensor", "blk.0.post_attention_norm.weight", "blk.0.ffn_norm_xxxxxxxxxx.weight"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.from) != len(tt.to) {
				t.Fatal("lengths differ")
			}
			f, err := Parse("x.gguf", []byte(strings.ReplaceAll(string(sound), tt.from, tt.to)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.HF()
			var i *diag.Issue
			if !errors.As(err, &i) || i.Code != tt.code {
				t.Errorf("error %v, want %s", err, tt.code)
			}
		})
	}
}
