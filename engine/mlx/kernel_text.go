//go:build mlx

package mlx

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/kernels"
)

// shorten puts a kernel's text for CUDA into files and leaves two #include lines in its
// place. MLX hashes the text of a kernel at each launch (CustomKernel::eval_gpu): 13 kB
// take it 4 µs, two lines next to nothing. The files are named by the text's hash, in the
// user's cache; where they cannot be written the text stays as it is, and only slower.
func shorten(text *kernels.GPU) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return
	}
	dir = filepath.Join(dir, "zmlx-rewrite", "cuda")
	if strings.ContainsAny(dir, "\"\\\n") || os.MkdirAll(dir, 0o700) != nil {
		return
	}
	head, body := filepath.Join(dir, text.Name+".h"), filepath.Join(dir, text.Name+".inc")
	if keep(head, text.Header) != nil || keep(body, text.Body) != nil {
		return
	}
	text.Header, text.Body = "#include \""+head+"\"\n", "#include \""+body+"\"\n"
}

// keep sees to it that the file holds the text.
func keep(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, []byte(text)) {
		return nil
	}
	return renameio.WriteFile(path, []byte(text), 0o600)
}
