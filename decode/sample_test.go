package decode

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"zmlx-rewrite/graph"
)

// TestFiltersAreMLXLM: of random log-probabilities the filters leave what mlx-lm's leave
// (scripts/oracle/sampling_goldens.py).
func TestFiltersAreMLXLM(t *testing.T) {
	text, err := os.ReadFile("testdata/sampling.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens []struct {
		Args struct {
			TopP    float64 `json:"top_p"`
			MinP    float64 `json:"min_p"`
			MinKeep int     `json:"min_tokens_to_keep"`
			TopK    int     `json:"top_k"`
			XTC     float64 `json:"xtc_probability"`
			XTCFrom float64 `json:"xtc_threshold"`
			XTCKeep []int   `json:"xtc_special_tokens"`
		}
		DType    string
		Logprobs string
		Kept     []int
	}
	if err := json.Unmarshal(text, &goldens); err != nil || len(goldens) < 120 {
		t.Fatalf("%d cases, %v", len(goldens), err)
	}
	for i, c := range goldens {
		t.Run(fmt.Sprintf("%d/%+v", i, c.Args), func(t *testing.T) {
			data, err := base64.StdEncoding.DecodeString(c.Logprobs)
			if err != nil {
				t.Fatal(err)
			}
			before := make([]float32, len(data)/4)
			for k := range before {
				before[k] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*k:]))
			}
			a := c.Args
			dtype, ok := graph.ParseDType(c.DType)
			if !ok {
				t.Fatal(c.DType)
			}
			s, err := NewSampling(Sampling{Temp: 0.7, TopP: a.TopP, MinP: a.MinP, MinKeep: max(1, a.MinKeep), TopK: a.TopK, XTCProbability: a.XTC, XTCThreshold: a.XTCFrom, XTCKeep: a.XTCKeep, Type: dtype}, 3)
			if err != nil {
				t.Fatal(err)
			}
			after := slices.Clone(before)
			s.Filter(after)
			var kept []int
			for k, x := range after {
				if math.IsInf(float64(x), -1) {
					continue
				}
				if kept = append(kept, k); x != before[k] {
					t.Errorf("token %d has %v, not %v", k, x, before[k])
				}
			}
			if !slices.Equal(kept, c.Kept) {
				t.Errorf("keeps %v, mlx-lm %v", kept, c.Kept)
			}
			for range 50 {
				if id := s.Sample(slices.Clone(before)); !slices.Contains(kept, id) {
					t.Errorf("token %d is drawn", id)
				}
			}
		})
	}
}

// TestXTCProbability: so many draws are cut, and the others are not.
func TestXTCProbability(t *testing.T) {
	before := []float32{-0.5, -1.5, -2, -5} // probabilities 0.61, 0.22, 0.14, 0.01
	for _, share := range []float64{0, 0.3, 0.8} {
		s, err := NewSampling(Sampling{Temp: 1, MinKeep: 1, XTCProbability: share, XTCThreshold: 0.1}, 5)
		if err != nil {
			t.Fatal(err)
		}
		cut := 0
		for range 2000 {
			after := slices.Clone(before)
			s.Filter(after)
			switch {
			case slices.Equal(after, []float32{none, none, -2, -5}):
				cut++
			case !slices.Equal(after, before):
				t.Fatalf("leaves %v", after)
			}
		}
		if got := float64(cut) / 2000; math.Abs(got-share) > 0.05 {
			t.Errorf("xtc_probability %v: cuts %v of the draws", share, got)
		}
	}
}
