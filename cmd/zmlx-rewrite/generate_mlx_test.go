//go:build mlx

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestGenerateIsMLXLM: with the same flags, generate and chat make the tokens and the texts of
// mlx_lm.generate and mlx_lm.chat, unrewritten and rewritten (scripts/oracle/generate_goldens.py).
// A space with which a text begins is not in mlx-lm's.
func TestGenerateIsMLXLM(t *testing.T) {
	text, err := os.ReadFile("testdata/generate.json")
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Prompt []int
		Tokens []int
		Text   string
		Draft  int `json:"from_draft"`
	}
	var cases []struct {
		Name, Command, Model, Template, DType string
		Added                                 []string `json:"added_tokens"`
		Lines, Args                           []string
		Answers                               []answer
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) < 10 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	t.Chdir("../..") // where flags name files from
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			model := filepath.Join("testdata/trained", c.Model)
			if c.Template != "" {
				model = withTemplate(t, model, c.Template, c.Added)
			}
			args := append([]string{c.Command, "--model", model, "-o", "json"}, c.Args...)
			ways := [][]string{{"--no-rewrite"}, nil}
			if c.DType != "" { // rewritten, other tokens are no errors where two are as likely
				args, ways = append(args, "--dtype", c.DType), ways[:1]
			}
			for _, more := range ways {
				var out, errs bytes.Buffer
				if code := run(append(args, more...), strings.NewReader(strings.Join(c.Lines, "\n")), &out, &errs); code != 0 {
					t.Fatalf("exit code %d: %s", code, errs.String())
				}
				dec := json.NewDecoder(&out)
				for i, want := range c.Answers {
					var got generated
					if err := dec.Decode(&got); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got.PromptTokens, want.Prompt) || !slices.Equal(got.Tokens, want.Tokens) || got.Text != want.Text && got.Text != " "+want.Text {
						t.Errorf("%v, answer %d: %q, tokens %v of %v; mlx-lm has %q, %v of %v", more, i, got.Text, got.Tokens, got.PromptTokens, want.Text, want.Tokens, want.Prompt)
					}
					if got.FromDraft != want.Draft {
						t.Errorf("%v: %d tokens from the draft, %d of mlx-lm's", more, got.FromDraft, want.Draft)
					}
					if plain := more != nil; got.Rewritten == plain || !plain && len(got.Kernels) == 0 {
						t.Errorf("%v: rewritten %v, kernels %v", more, got.Rewritten, got.Kernels)
					}
				}
				if dec.More() {
					t.Error("more answers than mlx-lm's")
				}
			}
		})
	}
}

// withTemplate returns a copy of a model's folder with a chat template, and with tokens more.
func withTemplate(t *testing.T, model, template string, added []string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(model)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o666); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tokenizer.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tok map[string]any
	if err := json.Unmarshal(text, &tok); err != nil {
		t.Fatal(err)
	}
	for i, content := range added {
		tok["added_tokens"] = append(tok["added_tokens"].([]any), map[string]any{"id": 1024 + i, "content": content, "single_word": false,
			"lstrip": false, "rstrip": false, "normalized": false, "special": false})
	}
	if text, err = json.Marshal(tok); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}
