package mlxfn

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// Every layout of the table, against files that each release wrote.
func TestProbesOfReleases(t *testing.T) {
	for n, release := range Releases {
		proof, err := CheckProbes(probes(t, release))
		if err != nil {
			t.Fatal(err)
		}
		for name, err := range proof.Failed {
			t.Errorf("%s: %s: %v", release, name, err)
		}
		if proof.Version != release || len(proof.Primitives) != len(layouts[n].rows) {
			t.Errorf("%s: %d of %d primitives proven for %s", release, len(proof.Primitives), len(layouts[n].rows), proof.Version)
		}
	}
}

// The probes must tell: each row has one, each number of an enumeration has one, and
// each boolean is seen both ways (or its row is listed here).
func TestProbesAreComplete(t *testing.T) {
	oneWay := map[string]bool{ // what has only one value in probes
		"Scan.type=LogAddExp": true, // logcumsumexp: MLX's exporter does not know its own name for it
		"Convolution.flip":    true, "Cholesky.upper": true, "NumberOfElements.inverted": true,
	}
	seen := map[string]map[string]bool{}
	for _, p := range ProbeSet("") {
		state, err := p.state(newest())
		if err != nil {
			t.Fatal(err)
		}
		if len(state) != len(p.State) {
			t.Errorf("%s says fields that the table has not", p.Name)
		}
		if seen[p.Primitive()] == nil {
			seen[p.Primitive()] = map[string]bool{}
		}
		for _, f := range state {
			seen[p.Primitive()][f.Name+"="+formatValue(f.Value)] = true
		}
	}
	for _, row := range Primitives() {
		if seen[row.Name] == nil {
			t.Errorf("%s has no probe", row.Name)
		}
		for _, spec := range row.Fields {
			var want []string
			switch {
			case spec.Kind == Enum:
				want = spec.Names
			case spec.Kind == Bool && !oneWay[row.Name+"."+spec.Name]:
				want = []string{"true", "false"}
			}
			for _, v := range want {
				if !oneWay[row.Name+"."+spec.Name+"="+v] && !seen[row.Name][spec.Name+"="+v] {
					t.Errorf("no probe has %s.%s = %s", row.Name, spec.Name, v)
				}
			}
		}
	}
}

// relabel gives a file another version of the same length.
func relabel(data []byte, version string) []byte {
	data = bytes.Clone(data)
	copy(data[8:8+len(version)], version)
	return data
}

func relabelAll(dir fstest.MapFS, version string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, f := range dir {
		out[name] = &fstest.MapFile{Data: relabel(f.Data, version)}
	}
	return out
}

func TestUnknownVersion(t *testing.T) {
	golden := goldens(t)["traces-0.32.4.mlxfn"]
	future := relabel(golden, "0.33.0")
	if _, err := Read("f", future); err == nil || !strings.Contains(err.Error(), `MLX "0.33.0"`) {
		t.Errorf("without a proof: %v", err)
	} else if c, at := code(err); c != "mlxfn/version" || at != 0 {
		t.Errorf("without a proof: %s at %d", c, at)
	}
	dir := relabelAll(probes(t, "0.32.4"), "0.33.0")
	proof, err := CheckProbes(dir)
	if err != nil || len(proof.Failed) > 0 {
		t.Fatalf("%v %v", err, proof.Failed)
	}
	if got := mustWrite(t, mustRead(t, "f", future, proof), proof); !bytes.Equal(got, future) {
		t.Error("with a proof: not the same bytes")
	}

	// A primitive whose probe is missing is named.
	delete(dir, "DivMod.mlxfn")
	proof, err = CheckProbes(dir)
	if err != nil {
		t.Fatal(err)
	}
	if names := slices.Collect(maps.Keys(proof.Failed)); !slices.Equal(names, []string{"DivMod"}) {
		t.Errorf("not proven: %v", names)
	}
	_, err = Read("f", future, proof)
	if c, _ := code(err); c != "mlxfn/primitive" || !strings.Contains(err.Error(), "DivMod is not proven for MLX 0.33.0") {
		t.Errorf("with a partial proof: %v", err)
	}
	// So is one of which one probe of several is missing.
	for _, name := range []string{"Reduce.And.mlxfn", "Reduce.Sum.mlxfn"} {
		dir := relabelAll(probes(t, "0.32.4"), "0.33.0")
		delete(dir, name)
		if partial, err := CheckProbes(dir); err != nil || partial.Primitives["Reduce"] || len(partial.Failed) != 1 {
			t.Errorf("without %s: %v %v", name, err, partial.Failed)
		}
	}
	if err := Write(&bytes.Buffer{}, mustRead(t, "f", golden), proof); err != nil {
		t.Errorf("a proof must not change a known release: %v", err)
	}
}

// A release that lays out one primitive otherwise fails for that one only, and is
// seen even where the file is as long.
func TestProbesSeeDrift(t *testing.T) {
	proof, err := CheckProbes(relabelAll(probes(t, "0.32.3"), "0.33.0"))
	if err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(proof.Failed)); !slices.Equal(names, []string{"FFT", "FloorDivide"}) {
		t.Errorf("0.32.3 differs from 0.32.4 in FFT and FloorDivide, but these failed: %v", names)
	}
	proof, err = CheckProbes(relabelAll(probes(t, "0.32.1"), "0.33.0"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"FFT", "FloorDivide", "ScaledDotProductAttention"}
	if names := slices.Sorted(maps.Keys(proof.Failed)); !slices.Equal(names, want) {
		t.Errorf("0.32.1: %v failed, not %v", names, want)
	}
	// Two fields of a primitive change places.
	dir := probes(t, "0.32.4")
	file := dir["ArgPartition.mlxfn"].Data
	state := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 3), 1)
	swapped := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 1), 3)
	if bytes.Count(file, state) != 1 {
		t.Fatal("kth=3 axis=1 is not in the probe")
	}
	dir["ArgPartition.mlxfn"] = &fstest.MapFile{Data: bytes.Replace(file, state, swapped, 1)}
	if proof, err = CheckProbes(dir); err != nil || proof.Failed["ArgPartition"] == nil || len(proof.Failed) != 1 {
		t.Errorf("swapped fields: %v %v", err, proof.Failed)
	}
}

func TestProbesRefuse(t *testing.T) {
	if _, err := CheckProbes(fstest.MapFS{}); err == nil {
		t.Error("an empty folder proves nothing")
	}
	mixed := probes(t, "0.32.4")
	maps.Copy(mixed, fstest.MapFS{"Add.mlxfn": probes(t, "0.32.3")["Add.mlxfn"]})
	if _, err := CheckProbes(mixed); err == nil {
		t.Error("files of two versions are no proof")
	}
	p := Probe{Name: "ArgPartition", State: map[string]json.RawMessage{"kth": json.RawMessage("3")}}
	if CheckRoundTrip(&p, "", probes(t, "0.32.4")["ArgPartition.mlxfn"].Data) == nil {
		t.Error("a probe that does not say the axis proves nothing")
	}
}
