package convert_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/mlxfn"
	"zmlx-rewrite/graph/mlxfn/convert"
	"zmlx-rewrite/graph/normal"
	"zmlx-rewrite/models"
)

// families are the models that scripts/oracle/captures.py records: a family that is
// added there is compared here.
func families(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.mlxfn.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".mlxfn.gz"); name != "fast" && !strings.HasPrefix(name, "block_") {
			names = append(names, name)
		}
	}
	for _, must := range []string{"llama", "mixtral", "qwen3", "qwen3_moe"} {
		if !slices.Contains(names, must) {
			t.Fatalf("no capture of %s in %v", must, names)
		}
	}
	return names
}

// Every type of model that can be built has been held against mlx-lm's graph.
func TestEveryFamilyIsCaptured(t *testing.T) {
	captured := families(t)
	for _, name := range models.ModelTypes() {
		if !slices.Contains(captured, name) {
			t.Errorf("no capture of %s: add a row to scripts/oracle/captures.py, and run it", name)
		}
	}
}

// parity is a family: what MLX recorded, and what is built from the same config.json.
type parity struct {
	file  *mlxfn.File
	built *graph.Program
}

func newParity(t *testing.T, name string) parity {
	t.Helper()
	f := read(t, name)
	built, err := models.Build(config(t, f.Metadata), nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	nameStates(t, f, built)
	return parity{f, built}
}

// nameStates gives the states of a capture that it knows by number only the names that
// they have where the model is built.
func nameStates(t *testing.T, f *mlxfn.File, built *graph.Program) {
	t.Helper()
	var metadata map[string]any
	if err := json.Unmarshal([]byte(f.Metadata), &metadata); err != nil {
		t.Fatal(err)
	}
	inputs, outputs := metadata["inputs"].([]any), metadata["outputs"].([]any)
	names := map[any]any{}
	g := built.Cases[0].Graph
	for i, v := range g.Inputs() {
		if i < len(inputs) && numbered.MatchString(inputs[i].(string)) {
			names[inputs[i]] = g.InputName(v)
		}
	}
	for _, list := range [][]any{inputs, outputs} {
		for i, name := range list {
			if to, ok := names[name]; ok {
				list[i] = to
			}
		}
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		t.Fatal(err)
	}
	f.Metadata = string(text)
}

var numbered = regexp.MustCompile(`^cache\.[0-9]+\.(state[0-9]+|[0-9]+\.(keys|values))$`)

// specs are the cases of the built program that the traces are, with their symbols, in
// calls that fill the caches.
func (p parity) specs(t *testing.T) []convert.Spec {
	t.Helper()
	var specs []convert.Spec
	for _, fn := range p.file.Functions {
		shapes := map[string][]int{}
		g := p.built.Cases[0].Graph
		for i, v := range g.Inputs() {
			shapes[g.InputName(v)] = fn.Inputs[i].Type.Shape
		}
		tokens := shapes["tokens"]
		s := convert.Spec{Case: -1, Env: map[string]int64{graph.SymBatch: int64(tokens[0]), graph.SymSeqLen: int64(tokens[1])}}
		for _, v := range g.Inputs() { // the capacities, off the inputs that have them
			for d, dim := range g.Type(v).Shape {
				if sym, ok := dim.Symbol(); ok && (sym == graph.SymKVCap || sym == graph.SymWindowCap) {
					s.Env[sym] = int64(shapes[g.InputName(v)][d])
				}
			}
		}
		filled := maps.Clone(s.Env)
		filled[graph.SymKVLen] = s.Env[graph.SymKVCap]
		for i := range p.built.Cases {
			if ok, err := p.built.Cases[i].When.Eval(filled); ok && err == nil {
				s.Case = i
			}
		}
		if s.Case < 0 {
			t.Fatalf("%s: no case for %v", p.built.Name, filled)
		}
		specs = append(specs, s)
	}
	return specs
}

// hashes are those of the built program for the call of each trace, in normal form.
func (p parity) hashes(t *testing.T) []*graph.Graph {
	t.Helper()
	var all []*graph.Graph
	for _, s := range p.specs(t) {
		g, err := normal.Specialize(p.built.Cases[s.Case].Graph, s.Env)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := normal.Form(g); err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

// difference is where two graphs in canonical order part: the first line of their text
// that is another one, with those before it.
func difference(captured, built *graph.Graph) string {
	a, b := strings.Split(captured.String(), "\n"), strings.Split(built.String(), "\n")
	scope, float := regexp.MustCompile(` @ .*`), regexp.MustCompile(`[0-9]+\.[0-9]+(e[-+][0-9]+)?`)
	plain := func(line string) string { // as hashes compare
		return float.ReplaceAllStringFunc(scope.ReplaceAllString(line, ""), func(s string) string {
			x, err := strconv.ParseFloat(s, 32)
			if err != nil {
				return s
			}
			return fmt.Sprint(float32(x))
		})
	}
	for i := range max(len(a), len(b)) {
		x, y := "nothing", "nothing"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if plain(x) != plain(y) {
			return fmt.Sprintf("behind\n%s\ncaptured is\n%s\nbuilt is\n%s", strings.Join(a[max(0, i-6):min(i, len(a))], "\n"), x, y)
		}
	}
	return "the texts are equal"
}

// A model that is built here and the same model as MLX recorded it are one graph in
// normal form, for every call shape that was captured: so the same rules match both.
func TestBuiltMeetsCaptured(t *testing.T) {
	for _, name := range families(t) {
		if filledOnly[name] != "" {
			continue // TestBuiltMeetsCapturedFilled
		}
		p := newParity(t, name)
		captured, err := convert.Import("capture", p.file, convert.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range p.hashes(t) {
			c := captured.Cases[i]
			if _, notes, err := normal.Raise(c.Graph); err != nil || len(notes) > 0 {
				t.Fatal(name, c.Name, err, notes)
			}
			if want.Hash() != c.Graph.Hash() {
				t.Errorf("%s, %s: %s", name, c.When, difference(c.Graph, want))
			}
		}
		// The records of quantized matrices, too.
		convert.NameQuants(captured)
		if len(captured.Params) != len(p.built.Params) {
			t.Errorf("%s: %d parameters captured, %d built", name, len(captured.Params), len(p.built.Params))
		}
		for _, q := range p.built.Params {
			c := captured.Param(q.Name)
			if c == nil || !c.Type.Equal(q.Type) || c.Part != q.Part || (c.Quant == nil) != (q.Quant == nil) || c.Quant != nil && *c.Quant != *q.Quant {
				t.Errorf("%s: parameter %s is %+v in the capture, not %+v", name, q.Name, c, q)
			}
		}
	}
}

// What is recovered from the calls of a capture, symbols and all, is what is built from
// the configuration, case for case; a case that one is in is in the other.
func TestBuiltMeetsRecovered(t *testing.T) {
	for _, name := range families(t) {
		if filledOnly[name] != "" {
			continue // TestBuiltMeetsCapturedFilled
		}
		p := newParity(t, name)
		path := filepath.Join(t.TempDir(), name+".mlxfn")
		if err := mlxfn.WriteFile(path, p.file); err != nil {
			t.Fatal(err)
		}
		recovered, notes, err := convert.Load(path, convert.ImportOptions{})
		if err != nil || len(notes) > 0 {
			t.Fatal(name, err, notes)
		}
		if recovered.Name != p.built.Name {
			t.Errorf("%s: the program's name is %s", name, recovered.Name)
		}
		used := map[int]bool{}
		for _, s := range p.specs(t) {
			used[s.Case] = true
			c, err := recovered.Select(s.Env)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			want := p.built.Cases[s.Case].Graph.Clone()
			if _, err := normal.Form(want); err != nil {
				t.Fatal(err)
			}
			if c.Graph.Hash() != want.Hash() {
				t.Errorf("%s for %v: %s", name, s.Env, difference(c.Graph, want))
			}
		}
		if len(recovered.Cases) != len(used) {
			t.Errorf("%s: %d cases recovered, the traces are of %d", name, len(recovered.Cases), len(used))
		}
	}
}

// Exported, the built model has the very primitives that MLX recorded.
func TestBuiltExportsAsCaptured(t *testing.T) {
	for _, name := range families(t) {
		if filledOnly[name] != "" {
			continue // TestBuiltMeetsCapturedFilled
		}
		p := newParity(t, name)
		out, err := convert.Export(p.built, convert.ExportOptions{Version: p.file.Version, Specs: p.specs(t)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out.Metadata = p.file.Metadata
		again, err := convert.Import("export", out, convert.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before, err := convert.Import("capture", p.file, convert.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range before.Cases {
			for _, p := range []*graph.Program{before, again} {
				if _, err := normal.Form(p.Cases[i].Graph); err != nil {
					t.Fatal(err)
				}
			}
			if a, b := before.Cases[i].Graph, again.Cases[i].Graph; a.Hash() != b.Hash() {
				t.Errorf("%s, trace %d: exported, it is another graph: %s", name, i, difference(a, b))
			}
		}
	}
}

func read(t *testing.T, name string) *mlxfn.File {
	t.Helper()
	path := filepath.Join("testdata", name+".mlxfn.gz")
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	if _, err := io.Copy(&data, z); err != nil {
		t.Fatal(err)
	}
	f, err := mlxfn.Read(path, data.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// config is the config.json of a capture, which its metadata holds.
func config(t *testing.T, metadata string) *models.Config {
	t.Helper()
	var capture struct{ Config json.RawMessage }
	if err := json.Unmarshal([]byte(metadata), &capture); err != nil {
		t.Fatal(err)
	}
	c, err := models.ParseConfig("config.json", capture.Config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
