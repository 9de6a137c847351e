package main

import (
	"testing"
	"testing/fstest"

	"zmlx-rewrite/benchmarks"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/measure/ledger"
	"zmlx-rewrite/measure/ledger/choose"
	"zmlx-rewrite/rules"
)

// TestPrior: of several capsules that know a rule the newest counts, and what is taken is of
// this place and says where it is from. One that cannot be read is no silence.
func TestPrior(t *testing.T) {
	there := ledger.Place{Device: ledger.Device{Engine: "mlx", Device: "cuda", Name: "NVIDIA H200", Version: "0.31"}, Model: "llama", Program: "abc", Profile: "mine"}
	text := func(low float64) *fstest.MapFile {
		l := ledger.New()
		l.Put(&ledger.Entry{Place: there, Rule: "a.b", RuleHash: "1", Verdict: choose.Slower, Gain: choose.Gain{Ratio: low, Low: low, High: low, Rounds: 5}, With: []string{}, Command: []string{}})
		data, err := l.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return &fstest.MapFile{Data: data}
	}
	files := fstest.MapFS{"capsules/h200-1/ledger.json": text(0.1), "capsules/h200-2/ledger.json": text(0.2), "capsules/h200-3/trace.json": {Data: []byte("{}")}}
	p, err := readPrior(files)
	if err != nil {
		t.Fatal(err)
	}
	here, catalog := there, &kernels.Catalog{}
	here.Device.Version = "0.32"
	rule := &rules.Rule{Name: "a.b", Hash: "1"}
	if e := p.get(here, rule, catalog); e == nil || e.Place != here || e.Capsule != "h200-2" || e.Gain.Ratio != 0.2 || e.Verdict != choose.Slower {
		t.Errorf("%+v", e)
	}
	here.Device.Name = "NVIDIA L4"
	if e := p.get(here, rule, catalog); e != nil {
		t.Errorf("of another device: %+v", e)
	}
	files["capsules/h200-4/ledger.json"] = &fstest.MapFile{Data: []byte("{}")}
	if _, err := readPrior(files); err == nil {
		t.Error("a capsule that is no ledger was read")
	}
}

// TestShippedPrior: the capsules that the program carries can be read.
func TestShippedPrior(t *testing.T) {
	if _, err := readPrior(benchmarks.Files); err != nil {
		t.Error(err)
	}
}
