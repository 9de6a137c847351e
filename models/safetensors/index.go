package safetensors

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/models/weights"
)

// OpenIndex opens a model that is split over several files of one folder, which
// the index at path names. Every tensor of the index must be in its file, and no
// tensor in two. Tensors that the index does not mention are there too, as with
// mlx-lm, which reads all files of a folder.
func OpenIndex(path string) (*weights.Store, error) {
	data, err := readFile(path, maxIndex)
	if err != nil {
		if errors.As(err, new(*diag.Issue)) {
			return nil, err
		}
		return nil, diag.Errorf("safetensors/index", diag.Pos{File: path}, "%v", err)
	}
	tensorsOf, issue := parseIndex(path, data)
	if issue != nil {
		return nil, issue
	}
	names := slices.Sorted(maps.Keys(tensorsOf))
	var missing []string
	for _, name := range names {
		if !exists(filepath.Join(filepath.Dir(path), name)) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, diag.Errorf("safetensors/missing", diag.Pos{File: path}, "%d of the model's %d files are missing: %s",
			len(missing), len(names), strings.Join(missing[:min(5, len(missing))], ", ")).
			WithHint("copy them from the model's repository")
	}
	var files []*weights.File
	var closers []io.Closer
	for _, name := range names {
		f, err := weights.Open(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			weights.NewStore(closers...).Close()
			return nil, err
		}
		files, closers = append(files, f), append(closers, f)
	}
	s := weights.NewStore(closers...)
	if err := loadAll(s, path, files, names, tensorsOf); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// loadAll adds the tensors of all files and holds them against the index.
func loadAll(s *weights.Store, path string, files []*weights.File, names []string, tensorsOf map[string][]string) error {
	for i, f := range files {
		if _, err := load(s, f); err != nil {
			return err
		}
		// What this file has is in the store now, and what a later one has is not.
		for _, tensor := range tensorsOf[names[i]] {
			if s.Get(tensor) == nil {
				return diag.Errorf("safetensors/index", diag.Pos{File: path}, "tensor %q should be in %s and is not", tensor, names[i]).
					WithHint("the index and the files are of different models or versions: copy them all again")
			}
		}
	}
	return nil
}

// parseIndex returns the names of the tensors of each file, sorted.
func parseIndex(path string, data []byte) (map[string][]string, *diag.Issue) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		i := diag.Errorf("safetensors/index", diag.Pos{File: path}, "not an index of safetensors files: %v", err)
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			i.Pos = diag.At(path, syntax.Offset)
		}
		return nil, i
	}
	if len(index.WeightMap) == 0 {
		return nil, diag.Errorf("safetensors/index", diag.Pos{File: path}, "weight_map is missing or names no tensor")
	}
	tensorsOf := map[string][]string{}
	for _, tensor := range slices.Sorted(maps.Keys(index.WeightMap)) {
		name := index.WeightMap[tensor]
		// Only files beside the index: it must not reach into other folders.
		if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) || filepath.Ext(name) != ".safetensors" {
			return nil, diag.Errorf("safetensors/index", diag.Pos{File: path}, "tensor %q is said to be in %q, which is not a .safetensors file of the same folder", tensor, name)
		}
		tensorsOf[name] = append(tensorsOf[name], tensor)
	}
	return tensorsOf, nil
}
