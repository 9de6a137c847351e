package capsule

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"zmlx-rewrite/bench"
)

// sample is a whole capsule.
func sample() *Capsule {
	c := &Capsule{Version: Version, Kind: Bench, Made: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), Finished: time.Date(2026, 11, 28, 12, 1, 0, 0, time.UTC),
		Command: []string{"bench"}, Environment: map[string]string{}, Program: Program{Version: "0.1.0", Go: "go1.26"}, Machine: Machine{OS: "linux", Arch: "amd64", Cores: 2},
		Device: Device{Engine: "mlx", Version: "0.32.2", Device: "cpu"}, Model: Model{Name: "m", Type: "llama", SHA256: "ab", Of: "whole files", Bytes: 1, Params: 2},
		Rewrite: Rewrite{Profile: "llama", Preset: "inference", Target: "cpu", Rules: map[string]string{"llama.qmv": "cd"}, Kernels: map[string]string{}, Launches: []Layer{{Scope: "model.layers.0", Before: 3, After: 1, Replaced: []int{0}}},
			Replacements: []Replacement{{Rule: "llama.qmv", Round: 2, Saved: 2, Before: Picture{Boxes: []Box{{Lines: []string{"x"}, Leaf: true}, {Lines: []string{"quantized_matmul"}}}, Arrows: []Arrow{{From: 0, To: 1, Type: "float32[1]"}}},
				After: Picture{Boxes: []Box{{Lines: []string{"kernel.qmv"}}}, Arrows: []Arrow{}}}}},
		Notes: []string{}}
	c.Rewrite.Pack([]byte(`{"zmlx":1}`))
	c.Rewrite.Quantized = &Quantized{Before: "ef", After: "01", Launches: []Layer{{Scope: "model.layers.1", Before: 5, After: 2, Replaced: []int{0}}},
		Replacements: []Replacement{{Rule: "kv.sdpa_decode", Round: 1, Saved: 3, Before: Picture{Boxes: []Box{{Lines: []string{"softmax"}}}, Arrows: []Arrow{}}, After: Picture{Boxes: []Box{{Lines: []string{"kernel.sdpa"}}}, Arrows: []Arrow{}}}}}
	c.Rewrite.Quantized.Pack([]byte(`{"zmlx":1,"quantized":true}`))
	cell := Cell{Test: "tg8", Counted: 8, Fed: 1, Made: 9, First: -1, StreamA: Stream([]int{1, 2}), StreamB: Stream([]int{1, 2})}
	for i := range 8 {
		b := i%4 == 1 || i%4 == 2
		s := 4.0
		if b {
			s = 2
		}
		cell.Runs = append(cell.Runs, Run{Run: bench.Run{Round: i / 4, B: b, Seconds: s, At: float64(i)}, Tokens: "00"})
	}
	c.Cells = []Cell{cell}
	return c
}

// sampleAgainst is one of two rewrites.
func sampleAgainst() *Capsule {
	c := sample()
	c.Rewrite.Choice = &Choice{}
	c.Against = &Against{Flags: "--exclude llama.qmv", Rewrite: sample().Rewrite}
	c.Against.Rewrite.Choice = &Choice{Exclude: []string{"llama.qmv"}}
	return c
}

// TestAgainst: both rewrites are written, read again, and looked at.
func TestAgainst(t *testing.T) {
	want := sampleAgainst()
	good, err := want.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Parse("c.json", good); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: got  %+v\nwant %+v", err, got, want)
	}
	want.Against.Rewrite.Launches[0].Replaced = []int{7}
	bad, err := want.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("c.json", bad); err == nil || !strings.Contains(err.Error(), "against: model.layers.0 has replacement 7 of 1") {
		t.Errorf("a replacement that is not there: %v", err)
	}
}

// TestRoundTrip: what is written is read again, the same; the journal comes out as it went in.
func TestRoundTrip(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	want := sample()
	if err := want.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if j, err := got.Rewrite.Quantized.Unpack(); err != nil || string(j) != `{"zmlx":1,"quantized":true}` {
		t.Errorf("journal with a quantized cache %q, %v", j, err)
	}
	if j, err := got.Rewrite.Unpack(); err != nil || string(j) != `{"zmlx":1}` {
		t.Errorf("journal %q, %v", j, err)
	}
	if s := got.Cells[0].Summary(); s.Ratio != 2 || s.A.Mean != 2 || s.B.Mean != 4 {
		t.Errorf("%+v", s)
	}
	if !got.Cells[0].Identical() {
		t.Error("the same tokens are not identical")
	}
	got.Cells[0].Runs[3].Tokens = "11"
	if got.Cells[0].Identical() {
		t.Error("a run with other tokens is not seen")
	}
}

// TestRefused: what no program may rely on is refused, each by name.
func TestRefused(t *testing.T) {
	good, err := sample().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, old, new, code string }{
		{"no JSON", "{", "", "capsule/syntax"},
		{"cut off", "\"notes\": []\n}", "", "capsule/syntax"},
		{"another file", `"cells"`, `"sells"`, "capsule/syntax"},
		{"a later version", `"zmlx": 1`, `"zmlx": 2`, "capsule/version"},
		{"a time of zero", `"seconds": 4`, `"seconds": 0`, "capsule/invalid"},
		{"a time before zero", `"seconds": 4`, `"seconds": -1`, "capsule/invalid"},
		{"a round that would take all memory", `"round": 1`, `"round": 2000000000`, "capsule/invalid"},
		{"no tokens", `"counted": 8`, `"counted": 0`, "capsule/invalid"},
		{"tokens without end", `"made": 9`, `"made": 2000000000`, "capsule/invalid"},
		{"text for a number", `"cores": 2`, `"cores": "two"`, "capsule/invalid"},
		{"an unknown kind", `"kind": "bench"`, `"kind": "lunch"`, "capsule/invalid"},
		{"null for a list", `"notes": []`, `"notes": null`, "capsule/invalid"},
		{"a drawing that goes round in circles", `"from": 0`, `"from": 1`, "capsule/invalid"},
		{"an arrow from nowhere", `"from": 0`, `"from": -1`, "capsule/invalid"},
		{"an arrow to nowhere", `"to": 1`, `"to": 2`, "capsule/invalid"},
		{"a line without end", `"quantized_matmul"`, `"` + strings.Repeat("x", 401) + `"`, "capsule/invalid"},
		{"a replacement that is not there", `"replaced": [
					0`, `"replaced": [
					1`, "capsule/invalid"},
		{"a replacement that is not there with a quantized cache", `"replaced": [
						0`, `"replaced": [
						1`, "capsule/invalid"},
		{"a program without its hash", `"after": "01",`, ``, "capsule/invalid"},
		{"a box of nothing", `"lines": [
								"kernel.qmv"
							]`, `"lines": []`, "capsule/invalid"},
		{"a field missing", `"profile": "llama",`, ``, "capsule/invalid"},
	} {
		data := strings.Replace(string(good), c.old, c.new, 1)
		if data == string(good) {
			t.Fatalf("%s: nothing was replaced", c.what)
		}
		if _, err := Parse("c.json", []byte(data)); err == nil || !strings.Contains(err.Error(), c.code) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	more := strings.Replace(string(good), `"zmlx": 1`, `"zmlx": 1, "later": {"field": true}`, 1)
	if _, err := Parse("c.json", []byte(more)); err != nil {
		t.Errorf("a field that a later version adds: %v", err)
	}
}

// TestUnpack: a journal that was changed, or that is a bomb, is refused.
func TestUnpack(t *testing.T) {
	r := sample().Rewrite
	r.Journal = strings.Repeat("0", 64)
	if _, err := r.Unpack(); err == nil {
		t.Error("a journal of another hash was taken")
	}
	r.Pack(bytes.Repeat([]byte{' '}, maxJournal+1))
	if _, err := r.Unpack(); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a bomb: %v", err)
	}
	r.Packed = "%%%"
	if _, err := r.Unpack(); err == nil {
		t.Error("no base64 was taken")
	}
}

// TestDocsAreCurrent: docs/capsule.schema.json is this package's schema.
func TestDocsAreCurrent(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "capsule.schema.json")
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, Schema()) {
		t.Error("write it again: zmlx-rewrite rules schema capsule > docs/capsule.schema.json")
	}
}

func FuzzParse(f *testing.F) {
	good, err := sample().Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	two, err := sampleAgainst().Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(two)
	f.Add([]byte(`{"zmlx":1,"cells":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("c.json", data)
		if err != nil {
			return
		}
		for i := range c.Cells {
			c.Cells[i].Summary()
			c.Cells[i].Identical()
			c.Rewrite.LastStep(&c.Cells[i])
		}
		c.Summed()
		c.Rewrite.Unpack()
		c.Rewrite.Ran(c.Cells)
		c.Choice()
		again, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("c.json", again); err != nil && !json.Valid(again) {
			t.Fatal(err)
		}
	})
}
