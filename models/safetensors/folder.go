package safetensors

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/models/weights"
)

// File names of a Hugging Face checkpoint.
const (
	configFile = "config.json"
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// Limits of the JSON files, in bytes. The indexes of the largest public models
// have some ten million.
const (
	maxConfig = 16 << 20
	maxIndex  = 64 << 20
)

// Folder is a model as Hugging Face lays it out.
type Folder struct {
	Path    string
	Config  []byte // config.json, as it is
	Weights *weights.Store
}

// OpenFolder opens the model in a folder: config.json, and model.safetensors or
// the files that model.safetensors.index.json names. A missing file is an error
// that says how to get it.
func OpenFolder(dir string) (*Folder, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, diag.Errorf("model/folder", diag.Pos{File: dir}, "there is no such folder").
			WithHint("give the folder of a model, with its %s and weights, or a .gguf file", configFile)
	}
	path := filepath.Join(dir, configFile)
	config, err := readFile(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, diag.Errorf("model/config", diag.Pos{File: path}, "the file is missing").
			WithHint("copy it from the model's repository: it says what the weights are for")
	}
	if err != nil {
		return nil, err
	}
	store, err := openWeights(dir)
	if err != nil {
		return nil, err
	}
	return &Folder{Path: dir, Config: config, Weights: store}, nil
}

// openWeights opens the index if there is one: a folder may also have the weights
// in one file, from before it was split.
func openWeights(dir string) (*weights.Store, error) {
	if path := filepath.Join(dir, indexFile); exists(path) {
		return OpenIndex(path)
	}
	if path := filepath.Join(dir, singleFile); exists(path) {
		s, _, err := Open(path)
		return s, err
	}
	hint := "copy the weights from the model's repository"
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.Contains(name, "-of-") && strings.HasSuffix(name, ".safetensors"):
			hint = "it has parts of a split model: copy " + indexFile + " from the model's repository too"
		case strings.HasSuffix(name, ".gguf"):
			hint = "it has " + name + ": give that file instead of the folder"
		case strings.HasPrefix(name, "pytorch_model") && strings.HasSuffix(name, ".bin"):
			hint = "it has PyTorch files, which can run code when they are read: convert them with mlx_lm.convert"
		}
	}
	return nil, diag.Errorf("model/weights", diag.Pos{File: dir}, "the folder has no %s and no %s", singleFile, indexFile).WithHint("%s", hint)
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path) // before opening: a pipe would wait for a writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, diag.Errorf("model/file", diag.Pos{File: path}, "not a regular file of at most %d bytes", limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
