package chattemplate

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// The goldens are what Jinja2 renders, set up by transformers:
// scripts/oracle/chattemplate_goldens.py.

var goldenNow = time.Date(2025, 3, 9, 7, 5, 1, 0, time.UTC)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decodeFile(t testing.TB, name string) any {
	t.Helper()
	v, err := DecodeJSON(name, read(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// render renders with the variables of a golden file.
func render(t *Template, vars *Dict) (string, error) {
	t.now = func() time.Time { return goldenNow }
	extra := map[string]any{}
	for _, k := range vars.keys {
		extra[k] = vars.vals[k]
	}
	var messages, tools []*Dict
	for _, m := range extra["messages"].([]any) {
		messages = append(messages, m.(*Dict))
	}
	if list, ok := extra["tools"].([]any); ok {
		tools = []*Dict{}
		for _, m := range list {
			tools = append(tools, m.(*Dict))
		}
	}
	return t.Render(messages, tools, extra["add_generation_prompt"] == true, extra)
}

// check compares a result with a golden, where nil stands for an error.
func check(t *testing.T, what, got string, err error, want any) {
	t.Helper()
	switch {
	case want == nil && err == nil:
		t.Errorf("%s: Jinja2 raises an error, we have none and print\n%q", what, got)
	case want != nil && err != nil:
		t.Errorf("%s: %v\nJinja2 prints\n%q", what, err, want)
	case want != nil && got != want:
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// TestFeatures renders small templates, one for each thing that templates do.
func TestFeatures(t *testing.T) {
	file := decodeFile(t, "features.json").(*Dict)
	cases := file.vals["cases"].([]any)
	if len(cases) < 150 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		c := c.(*Dict)
		src := c.vals["template"].(string)
		tmpl, err := Parse("t", src)
		got := ""
		if err == nil {
			got, err = render(tmpl, file.vals["vars"].(*Dict))
		}
		check(t, src, got, err, c.vals["want"])
	}
}

// TestCased renders the upper and lower case of every letter that has another one.
func TestCased(t *testing.T) {
	file := decodeFile(t, "cased.json").(*Dict)
	tmpl, err := Parse("t", file.vals["template"].(string))
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Render(nil, nil, false, map[string]any{"x": file.vals["x"]})
	check(t, "cased", got, err, file.vals["want"])
}

// TestModels renders the templates of the supported models with every chat.
func TestModels(t *testing.T) {
	chats := decodeFile(t, "chats.json").([]any)
	for _, name := range []string{"smollm2", "qwen2.5", "qwen3"} {
		t.Run(name, func(t *testing.T) {
			want := decodeFile(t, name+".golden.json").([]any)
			tmpl, err := Parse(name, string(read(t, name+".jinja")))
			if err != nil {
				t.Fatal(err)
			}
			if len(want) != len(chats) || len(chats) < 100 {
				t.Fatalf("%d chats, %d answers", len(chats), len(want))
			}
			for i, vars := range chats {
				got, err := render(tmpl, vars.(*Dict))
				check(t, name+" "+strconv.Itoa(i), got, err, want[i])
			}
		})
	}
}

// TestOthers renders the templates of other models: those in testdata/templates, and
// all that llama.cpp tests with, Gemma 3 and DeepSeek-V3, if they were fetched. Their
// owners' licences keep them out of this repository. One that cannot be rendered must
// say so; none may differ.
func TestOthers(t *testing.T) {
	const dir = "../../.cache/templates"
	_, err := os.Stat(dir)
	fetched := err == nil
	if !fetched {
		t.Log("no templates in .cache/templates: `scripts/oracle/chattemplate_goldens.py --fetch` gets them")
	}
	chats := decodeFile(t, "chats.json").([]any)
	var others map[string]struct {
		Template string
		Outputs  []*string
	}
	if err := json.Unmarshal(read(t, "others.golden.json"), &others); err != nil {
		t.Fatal(err)
	}
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return fmt.Sprintf("%x", sum)
	}
	equal, refused, missing := 0, 0, 0
	for name, golden := range others {
		src, err := os.ReadFile(filepath.Join("testdata/templates", name))
		if err != nil && !fetched {
			missing++
			continue
		}
		if err != nil {
			src, err = os.ReadFile(filepath.Join(dir, name))
		}
		if err != nil {
			t.Errorf("%v; fetch again", err)
			continue
		}
		if hash(string(src)) != golden.Template {
			t.Errorf("%s is not the template that the goldens were made from", name)
			continue
		}
		tmpl, err := Parse(name, string(src))
		if refusedTemplates[name] {
			refused++
		} else {
			equal++
		}
		for i, vars := range chats {
			if testing.Short() && i%8 != 4 { // one setting of each chat
				continue
			}
			got, err := "", err
			if err == nil {
				got, err = render(tmpl, vars.(*Dict))
			}
			if refusedTemplates[name] && err != nil {
				continue
			}
			switch want := golden.Outputs[i]; {
			case want == nil && err == nil:
				t.Errorf("%s, case %d: Jinja2 raises an error, we have none and print\n%q", name, i, got)
			case want != nil && err != nil:
				t.Errorf("%s, case %d: %v", name, i, err)
			case want != nil && hash(got)[:16] != *want:
				t.Errorf("%s, case %d: not what Jinja2 prints, but\n%q", name, i, got)
			}
		}
	}
	t.Logf("%d templates equal, %d refused, %d not fetched", equal, refused, missing)
	if equal < 7 {
		t.Errorf("only %d templates compared", equal)
	}
}

// refusedTemplates use what this package does not have: a dict with numbers for keys.
var refusedTemplates = map[string]bool{"ByteDance-Seed-OSS.jinja": true}
