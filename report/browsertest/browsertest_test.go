package browsertest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPage: what other tests look for is found where it is: a request, an error, an element
// that is not drawn, the effect of a click.
func TestPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page with spaces.html")
	if err := os.WriteFile(file, []byte(`<!doctype html><title>t</title>
<style>.gone { display: none }</style>
<p>one</p><p class=gone>two</p>
<details><summary>more</summary><b>inside</b></details>
<img src="http://example.invalid/x.png"><img src="beside.png">
<script>throw new Error("planted")</script>`), 0o644); err != nil {
		t.Fatal(err)
	}
	p := Open(t, file)
	if got := p.Texts("p"); !slices.Equal(got, []string{"one"}) || p.Count("p") != 1 {
		t.Errorf("%q", got)
	}
	if n := p.Count("b"); n != 0 {
		t.Errorf("%d elements are drawn inside what is closed", n)
	}
	p.Click("summary")
	if n := p.Count("b"); n != 1 {
		t.Errorf("a click opened nothing: %d", n)
	}
	all := strings.Join(p.Requests(), " ")
	if !strings.Contains(all, "http://example.invalid/x.png") || !strings.Contains(all, "beside.png") || len(p.Requests()) != 2 {
		t.Errorf("requests: %s", all)
	}
	if all := strings.Join(p.Errors(), " "); !strings.Contains(all, "planted") {
		t.Errorf("errors: %s", all)
	}
	shot := filepath.Join(t.TempDir(), "shot.png")
	p.Screenshot(shot)
	if data, err := os.ReadFile(shot); err != nil || !strings.HasPrefix(string(data), "\x89PNG") {
		t.Errorf("no picture: %v", err)
	}
}
