package models

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/models/gguf"
	"zmlx-rewrite/models/safetensors"
	"zmlx-rewrite/models/tokenizer"
	"zmlx-rewrite/models/weights"
)

// Model is a model that was found on this machine: its configuration, its program,
// and, unless it is a config.json alone, its weights.
type Model struct {
	Path    string // of the folder or file
	Config  *Config
	Program *graph.Program
	Weights *weights.Store // nil for a config.json alone
	// EOS are the tokens that end a generation as far as generation_config.json
	// says, else config.json. The tokenizer may name more: see Stops.
	EOS []int

	text textSource
	as   []graph.DType // see LoadAs
	with string        // see LoadWith
}

// textSource is where a model's tokenizer and chat template come from.
type textSource interface {
	tokenizer() (*tokenizer.Tokenizer, error)
	chatTemplate() (ChatTemplate, error)
}

// ChatTemplate is the source of a chat template and the variables that it reads
// besides the messages.
type ChatTemplate struct {
	File   string // for messages
	Source string // Jinja; empty if the model has none
	Extra  map[string]any
}

// Load opens a model: a folder of Hugging Face or MLX, a .gguf file, a config.json
// without weights, or the id of a model (organization/name) in the local cache of
// the Hugging Face hub. Nothing is downloaded. Close the model after use.
func Load(path string) (*Model, error) { return LoadAs(path) }

// LoadAs is Load with all parameters of floating-point types converted to one type,
// scales and biases of quantized matrices too: activations then have it as well. Of
// several types, each comes after the other: bfloat16 and float32 are the numbers of a
// model in bfloat16, computed with in float32.
func LoadAs(path string, dtypes ...graph.DType) (*Model, error) { return LoadWith(path, "", dtypes...) }

// LoadWith is LoadAs with the adapter of a folder, if that is not "": what mlx_lm.lora writes.
// Its tensors keep their types.
func LoadWith(path, adapter string, dtypes ...graph.DType) (*Model, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if path, err = findInHub(path); err != nil {
			return nil, err
		}
		return loadFolder(path, adapter, dtypes)
	}
	if err != nil {
		return nil, diag.Errorf("model/open", diag.Pos{File: path}, "%v", err)
	}
	switch ext := filepath.Ext(path); {
	case info.IsDir():
		return loadFolder(path, adapter, dtypes)
	case ext == ".gguf":
		return loadGGUF(path, adapter, dtypes)
	case ext == ".json":
		return loadConfig(path, adapter, dtypes)
	}
	return nil, diag.Errorf("model/open", diag.Pos{File: path}, "not a model").
		WithHint("give a model's folder, a .gguf file, a config.json, or the id of a model in the local hub cache")
}

// Close closes the weights.
func (m *Model) Close() error {
	if m.Weights == nil {
		return nil
	}
	return m.Weights.Close()
}

// Tokenizer reads the model's tokenizer.
func (m *Model) Tokenizer() (*tokenizer.Tokenizer, error) {
	if m.text == nil {
		return nil, m.noText("tokenizer")
	}
	return m.text.tokenizer()
}

// ChatTemplate reads the model's chat template.
func (m *Model) ChatTemplate() (ChatTemplate, error) {
	if m.text == nil {
		return ChatTemplate{}, m.noText("chat template")
	}
	return m.text.chatTemplate()
}

// Stops returns the tokens that end a generation, in increasing order: EOS and what
// the tokenizer names, the union that mlx-lm takes.
func (m *Model) Stops(tok *tokenizer.Tokenizer) []int {
	all := append(tok.Stops(), m.EOS...)
	slices.Sort(all)
	return slices.Compact(all)
}

func (m *Model) noText(what string) error {
	return diag.Errorf("model/text", diag.Pos{File: m.Path}, "a config.json alone has no %s", what).
		WithHint("give the folder of the model")
}

// storeTypes makes a Store a TypeSource.
type storeTypes struct{ *weights.Store }

func (s storeTypes) ParamType(name string) (graph.Type, bool) {
	t := s.Get(name)
	if t == nil {
		return graph.Type{}, false
	}
	return graph.T(t.DType, dims(t.Shape...)...), true
}

func (s storeTypes) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for t := range s.All() {
			if !yield(t.Name) {
				return
			}
		}
	}
}

// finish builds the program of a model whose configuration text and weights are
// at hand. On error it closes the weights.
func (m *Model) finish(file string, config []byte) (*Model, error) {
	err := func() (err error) {
		if m.Config, err = ParseConfig(file, config); err != nil {
			return err
		}
		m.EOS = m.Config.EOS
		if err := m.sanitize(); err != nil {
			return err
		}
		if err := m.convert(); err != nil {
			return err
		}
		if m.with != "" {
			if err := m.adapt(m.with); err != nil {
				return err
			}
		}
		if m.Weights == nil {
			m.Program, err = Build(m.Config, nil)
			return err
		}
		if m.Program, err = Build(m.Config, storeTypes{m.Weights}); err != nil {
			return err
		}
		return Derive(m.Program, m.Weights)
	}()
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// sanitize gives the weights the names and layouts of mlx-lm's classes.
func (m *Model) sanitize() error {
	n, ok := m.Config.net.(sanitizer)
	if !ok || m.Weights == nil {
		return nil
	}
	w := weights.NewStore(m.Weights) // which closing w closes
	for t := range m.Weights.All() {
		parts, err := n.sanitize(t)
		if err != nil {
			return err
		}
		for _, t := range parts {
			if err := w.Add(t); err != nil {
				return err
			}
		}
	}
	m.Weights = w
	return nil
}

// convert gives all parameters of floating-point types the types that were asked for.
func (m *Model) convert() error {
	for _, as := range m.as {
		m.Config.DType = as
		if m.Weights == nil {
			continue
		}
		w := weights.NewStore(m.Weights) // which closing w closes
		for t := range m.Weights.All() {
			t, err := converted(t, as)
			if err != nil {
				return err
			}
			if err := w.Add(t); err != nil {
				return err
			}
		}
		m.Weights = w
	}
	return nil
}

// chosenBy are the parameters that say which experts are chosen. mlx_lm.convert does not
// round them (cast_predicate of its models).
var chosenBy = []string{".expert_bias", ".e_score_correction_bias"}

func converted(t *weights.Tensor, to graph.DType) (*weights.Tensor, error) {
	from := t.DType
	if !from.IsFloat() || from == to {
		return t, nil
	}
	if to != graph.Float32 && slices.ContainsFunc(chosenBy, func(s string) bool { return strings.HasSuffix(t.Name, s) }) {
		return t, nil
	}
	return weights.Map(t, to, func(dst, src []byte) {
		for i := 0; i < len(src); i += from.Size() {
			graph.AppendElem(dst[:0], to, graph.DecodeElem(from, src[i:]))
			dst = dst[to.Size():]
		}
	})
}

func loadConfig(path, adapter string, as []graph.DType) (*Model, error) {
	text, err := readFile(path, maxConfigBytes)
	if err != nil {
		return nil, err
	}
	return (&Model{Path: path, as: as, with: adapter}).finish(path, text)
}

func loadFolder(dir, adapter string, as []graph.DType) (*Model, error) {
	f, err := safetensors.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	m, err := (&Model{Path: dir, Weights: f.Weights, text: folderText{dir}, as: as, with: adapter}).finish(filepath.Join(dir, "config.json"), f.Config)
	if err != nil {
		return nil, err
	}
	if eos := (folderText{dir}).generationEOS(); len(eos) > 0 {
		m.EOS = eos
	}
	return m, nil
}

func loadGGUF(path, adapter string, as []graph.DType) (*Model, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	hf, err := f.HF()
	if err != nil {
		f.Close()
		return nil, err
	}
	config, err := json.Marshal(hf.Config)
	if err != nil {
		f.Close()
		return nil, diag.Errorf("model/open", diag.Pos{File: path}, "%v", err)
	}
	m, err := (&Model{Path: path, Weights: hf.Weights, text: ggufText{f}, as: as, with: adapter}).finish(path, config)
	if list := (diag.List)(nil); errors.As(err, &list) {
		for _, i := range list {
			i.Pos = diag.Pos{File: path} // lines are those of a text that nobody has
		}
	}
	return m, err
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	pos := diag.Pos{File: path}
	info, err := os.Stat(path) // before opening: a pipe would wait for a writer
	if err != nil {
		return nil, diag.Errorf("model/open", pos, "%v", err)
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, diag.Errorf("model/open", pos, "not a regular file of at most %d bytes", limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, diag.Errorf("model/open", pos, "%v", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, diag.Errorf("model/open", pos, "%v", err)
	}
	return text, nil
}

// findInHub returns the folder of a model in the local cache of the hub: the
// snapshot that refs/main names.
func findInHub(id string) (string, error) {
	pos := diag.Pos{File: id}
	org, name, ok := strings.Cut(id, "/")
	if !ok || org == "" || name == "" || strings.ContainsAny(name, `/\`) || strings.HasPrefix(id, ".") || !filepath.IsLocal(id) {
		return "", diag.Errorf("model/open", pos, "there is no such file or folder").
			WithHint("give a model's folder, a .gguf file, a config.json, or the id of a model in the local hub cache")
	}
	cache, err := hubCache()
	if err != nil {
		return "", diag.Errorf("model/open", pos, "%v", err)
	}
	dir := filepath.Join(cache, "models--"+org+"--"+name)
	if ref, err := readFile(filepath.Join(dir, "refs", "main"), 1<<10); err == nil {
		commit := strings.TrimSpace(string(ref))
		snapshot := filepath.Join(dir, "snapshots", commit)
		if info, err := os.Stat(snapshot); err == nil && info.IsDir() && filepath.IsLocal(commit) {
			return snapshot, nil
		}
	}
	return "", diag.Errorf("model/open", pos, "no such file or folder, and no such model in %s", cache).
		WithHint("get it with `hf download %s`", id)
}

// hubCache returns the folder where huggingface_hub keeps models.
func hubCache() (string, error) {
	if dir := os.Getenv("HF_HUB_CACHE"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return filepath.Join(dir, "hub"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".cache", "huggingface", "hub"), nil
}
