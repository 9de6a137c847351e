package kernels

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A native body knows operands and numbers by their places, which its first two enums
// name. They must be those of the spec.
func TestNativePlaces(t *testing.T) {
	catalog, issues := Load()
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	files, err := fs.Glob(NativeFiles(), "*.cpp")
	if err != nil {
		t.Fatal(err)
	}
	enum := regexp.MustCompile(`(?m)^  enum \{ ([a-z0-9_, ]+) \};`)
	found := 0
	for _, file := range files {
		s := catalog.Spec(strings.TrimSuffix(path.Base(file), ".cpp"))
		if s == nil {
			continue
		}
		found++
		text, err := fs.ReadFile(NativeFiles(), file)
		if err != nil {
			t.Fatal(err)
		}
		var arrays []string
		for _, x := range s.Inputs {
			arrays = append(arrays, x.Name)
		}
		want := [][]string{append(arrays, s.Results...), s.Ints()}
		got := enum.FindAllStringSubmatch(string(text), -1)
		if len(got) != len(want) {
			t.Errorf("%s has %d enums, not one of operands and one of numbers", file, len(got))
			continue
		}
		for i, w := range want {
			if g := strings.Split(got[i][1], ", "); !slices.Equal(g, w) {
				t.Errorf("%s has %v, the spec %v", file, g, w)
			}
		}
	}
	if found == 0 {
		t.Error("no native bodies")
	}
}
