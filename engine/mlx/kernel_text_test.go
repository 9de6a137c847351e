//go:build mlx

package mlx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zmlx-rewrite/kernels"
)

// A text for CUDA becomes two lines that include it; a file that holds something else
// is written anew, and without a place to write to the text stays.
func TestShorten(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	whole := kernels.GPU{Name: "k_1", Header: "struct s {};\n", Body: "out[0] = 1;\n"}
	text := whole
	shorten(&text)
	for _, part := range []struct{ line, want string }{{text.Header, whole.Header}, {text.Body, whole.Body}} {
		path, found := strings.CutPrefix(strings.TrimSuffix(part.line, "\"\n"), "#include \"")
		if !found {
			t.Fatalf("%q includes no file", part.line)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != part.want {
			t.Errorf("%s holds %q, %v; want %q", path, got, err, part.want)
		}
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		again := whole
		shorten(&again)
		if got, _ := os.ReadFile(path); string(got) != part.want {
			t.Errorf("%s was left damaged: %q", path, got)
		}
	}

	occupied := filepath.Join(cache, "file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", occupied)
	t.Setenv("HOME", occupied)
	text = whole
	if shorten(&text); text.Header != whole.Header || text.Body != whole.Body {
		t.Errorf("without a folder the text became %q, %q", text.Header, text.Body)
	}
}
