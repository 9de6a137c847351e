package models

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
)

// unbuilt are the published configurations that cannot be built yet, with the codes
// of the reasons. The list may only become shorter: whoever adds a builder takes its
// models off here, and they are then held to what every other reference is held to
// (TestReferencePrograms, TestReferences in rewrite, `zmlx-rewrite models`).
var unbuilt = map[string][]string{
	"DeepSeek-V3":   {"config/unsupported"},
	"DeepSeek-V3.2": {"config/unsupported"},
	"Kimi-K2.5":     {"config/unsupported"},
}

// TestUnbuiltReferences holds that list against what really cannot be built.
func TestUnbuiltReferences(t *testing.T) {
	if got, want := UnbuiltReferences(), slices.Sorted(maps.Keys(unbuilt)); !slices.Equal(got, want) {
		t.Errorf("%v cannot be built, %v are on the list", got, want)
	}
	for name, want := range unbuilt {
		var list diag.List
		if !errors.As(ReferenceError(name), &list) {
			t.Errorf("%s: can be built; take it off the list", name)
			continue
		}
		var got []string
		for _, i := range list {
			got = append(got, i.Code)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v on the list", name, list, want)
		}
		if c, ok := ReferenceConfig(name); ok {
			t.Errorf("%s: has a configuration of type %s, and cannot be built", name, c.ModelType)
		}
	}
}

// TestReferencesHaveSources: a configuration that somebody published was found
// somewhere, and the documentation says where.
func TestReferencesHaveSources(t *testing.T) {
	text, err := os.ReadFile("../docs/MODELS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Reference configurations\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for name := range references() {
		if !strings.Contains(table, "`"+name+"`") {
			t.Errorf("docs/MODELS.md does not say where %s.json is from", name)
		}
	}
}
