package mlxfn

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// venv holds the pinned oracle: mlx 0.32.2 and mlx-lm 0.32.0.
const venv = "../../.cache/oracle/venv"

func python(t *testing.T) string {
	t.Helper()
	path := filepath.Join(venv, "bin", "python")
	if _, err := os.Stat(path); err != nil {
		t.Skip("missing capability: Python with mlx 0.32.2 and mlx-lm 0.32.0 in .cache/oracle/venv")
	}
	// What Python reads is unknown to the cache of go test, until the test looks at it.
	os.ReadFile(filepath.Join(venv, "stamp"))
	os.ReadDir("../../scripts/oracle")
	return path
}

// compare lets MLX run two files and compare the results bit by bit.
func compare(t *testing.T, a, b []byte) (string, error) {
	t.Helper()
	type call struct {
		Args   []string          `json:"args"`
		Kwargs map[string]string `json:"kwargs"`
	}
	var calls []call
	f := mustRead(t, "", a)
	for k := range f.Functions {
		fn := &f.Functions[k]
		c := call{Args: []string{}, Kwargs: map[string]string{}}
		for n, v := range fn.Inputs {
			if kw := n - fn.Positional(); kw >= 0 {
				c.Kwargs[fn.Kwargs[kw]] = v.Type.String()
			} else {
				c.Args = append(c.Args, v.Type.String())
			}
		}
		calls = append(calls, c)
	}
	stdin, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first, second := filepath.Join(dir, "a.mlxfn"), filepath.Join(dir, "b.mlxfn")
	for path, data := range map[string][]byte{first: a, second: b} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python(t), "../../scripts/oracle/mlxfn_run.py", first, second)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func wantEqual(t *testing.T, a, b []byte) {
	t.Helper()
	if out, err := compare(t, a, b); err != nil || out != "equal\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// renumber gives all values new, small ids, constants the same in all functions.
func renumber(f *File) {
	constants, next := map[uint64]uint64{}, uint64(1)
	for k := range f.Functions {
		fn := &f.Functions[k]
		ids := map[uint64]uint64{}
		rename := func(id *uint64) {
			if _, ok := ids[*id]; !ok {
				ids[*id] = next
				next++
			}
			*id = ids[*id]
		}
		for n := range fn.Inputs {
			rename(&fn.Inputs[n].ID)
		}
		for n := range fn.Tape {
			e := &fn.Tape[n]
			if e.Kind == Constant {
				if id, ok := constants[e.ID]; ok {
					ids[e.ID] = id
				} else {
					old := e.ID
					rename(&old)
					constants[e.ID] = old
				}
			}
			for m := range e.Inputs {
				rename(&e.Inputs[m])
			}
			e.Outputs = append([]Value(nil), e.Outputs...) // constants of several functions share it
			for m := range e.Outputs {
				rename(&e.Outputs[m].ID)
			}
			rename(&e.ID)
		}
		for n := range fn.Outputs {
			rename(&fn.Outputs[n])
		}
	}
}

// squares makes Square(x) Multiply(x, x), which is the same arithmetic.
func squares(f *File) (edits int) {
	for k := range f.Functions {
		for n := range f.Functions[k].Tape {
			if e := &f.Functions[k].Tape[n]; e.Primitive == "Square" {
				e.Primitive = "Multiply"
				e.Inputs = append(e.Inputs, e.Inputs[0])
				edits++
			}
		}
	}
	return edits
}

func TestMLXRunsWhatWeWrite(t *testing.T) {
	python(t)
	for _, name := range []string{"traces-0.32.2.mlxfn", "traces-0.32.4.mlxfn", "shapeless-0.32.2.mlxfn", "qwen3_moe-0.32.2.mlxfn"} {
		data := goldens(t)[name]
		t.Run(name, func(t *testing.T) {
			f := mustRead(t, name, data)
			renumber(f)
			if got := mustWrite(t, f); bytes.Equal(got, data) {
				t.Error("renumbering changed nothing")
			} else {
				wantEqual(t, data, got)
			}
			if dump(t, f) != dump(t, mustRead(t, name, data)) {
				t.Error("the dump depends on ids")
			}
			for k := range f.Functions { // an input need not be on the tape
				fn := &f.Functions[k]
				fn.Tape = slices.DeleteFunc(fn.Tape, func(e Entry) bool { return e.Kind == Input })
			}
			if !strings.HasPrefix(name, "shapeless") && squares(f) == 0 {
				t.Error("nothing to rewrite")
			}
			wantEqual(t, data, mustWrite(t, f))
		})
	}
}

// The comparison itself must notice a changed function.
func TestMLXSeesADifference(t *testing.T) {
	data := goldens(t)["qwen3_moe-0.32.2.mlxfn"]
	f := mustRead(t, "", data)
	for n := range f.Functions[0].Tape {
		if e := &f.Functions[0].Tape[n]; e.Primitive == "Square" {
			e.Primitive = "Abs"
		}
	}
	if out, err := compare(t, data, mustWrite(t, f)); err == nil || !strings.Contains(out, "differs") {
		t.Errorf("%v: %s", err, out)
	}
}

// The scripts still make the goldens: the same but for ids.
func TestGoldensAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command(python(t), "../../scripts/oracle/mlxfn_goldens.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	made := 0
	for name, data := range goldens(t) {
		if !strings.HasSuffix(name, "-0.32.2.mlxfn") {
			continue
		}
		f, err := ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		made++
		if dump(t, f) != dump(t, mustRead(t, name, data)) {
			t.Errorf("%s is not what the script makes now", name)
		}
	}
	if made < 4 {
		t.Errorf("%d files compared", made)
	}
	// And the probes, through all three steps.
	if err := WriteProbes(dir, "0.32.2"); err != nil {
		t.Fatal(err)
	}
	for name := range goldens(t) {
		os.Remove(filepath.Join(dir, name))
	}
	if out, err := exec.Command(python(t), "../../scripts/oracle/mlxfn_probe.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	proof, err := CheckProbes(os.DirFS(dir))
	if err != nil || len(proof.Failed) > 0 || proof.Version != "0.32.2" {
		t.Errorf("%v %+v", err, proof)
	}
}

// The table has a row for each primitive that MLX can read, and no other.
func TestTableIsMLXs(t *testing.T) {
	out, err := exec.Command(python(t), "../../scripts/oracle/mlxfn_names.py").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for line := range strings.Lines(string(out)) {
		got = append(got, strings.TrimSpace(line))
	}
	for name := range layoutOf("0.32.2").rows {
		want = append(want, name)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("MLX reads %v\nthe table has %v", got, want)
	}
}
