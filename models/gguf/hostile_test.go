package gguf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/diag"
)

// replace returns a copy of b with the first old replaced by new of the same length.
func replace(b []byte, old, new string) []byte {
	i := strings.Index(string(b), old)
	if i < 0 || len(old) != len(new) {
		panic(fmt.Sprintf("no %q", old))
	}
	b = slices.Clone(b)
	copy(b[i:], new)
	return b
}

var hostile = []struct {
	name, code string
	at         int64 // expected offset, -1 for any
	data       []byte
}{
	{"empty", "gguf/magic", 0, nil},
	{"other format", "gguf/magic", 0, []byte("GGML\x03\x00\x00\x00")},
	{"magic only", "gguf/truncated", 4, []byte("GGUF")},
	{"version 1", "gguf/version", 4, file(1)},
	{"version 4", "gguf/version", 4, file(4)},
	{"big-endian", "gguf/version", 4, file(0x03000000)},
	{"counts cut", "gguf/truncated", 16, small()[:20]},
	{"2^63 tensors", "gguf/count", 8, replace(small(), "\x04\x00\x00\x00\x00\x00\x00\x00", "\x04\x00\x00\x00\x00\x00\x00\x80")},
	{"10^6 entries", "gguf/count", 8, slices.Concat([]byte("GGUF\x03\x00\x00\x00"), u64(0), u64(1e6), make([]byte, 1000))},

	{"an entry more than fits", "gguf/count", 8, slices.Concat([]byte("GGUF\x03\x00\x00\x00"), u64(0), u64(1+1400/minKV), make([]byte, 1400))},
	{"a tensor more than fits", "gguf/count", 8, slices.Concat([]byte("GGUF\x03\x00\x00\x00"), u64(1+3300/minTensor), u64(0), make([]byte, 3300))},

	// The three mutations whose files crash MLX's reader: SIGSEGV, SIGBUS, SIGABRT.
	{"key of 2^63 bytes", "gguf/name", -1, replace(small(), "\x01\x00\x00\x00\x00\x00\x00\x00k", "\x01\x00\x00\x00\x00\x00\x00\x80\x00")},
	{"tensor name of 65282 bytes", "gguf/name", -1, replace(small(), "\x02\x00\x00\x00\x00\x00\x00\x00t1", "\x02\xff\x00\x00\x00\x00\x00\x00t1")},
	{"2^31 dimensions", "gguf/dimensions", -1, replace(small(), "t0\x02\x00\x00\x00", "t0\x02\x00\x00\x80")},

	{"empty key", "gguf/name", -1, file(3, kv("", Uint8, []byte{1}), kv("padding", Uint8, []byte{1}))},
	{"key is no UTF-8", "gguf/name", -1, file(3, kv("\xff", Uint8, []byte{1}))},
	{"key twice", "gguf/duplicate-key", -1, file(3, kv("a", Uint8, []byte{1}), kv("a", Uint8, []byte{1}))},
	{"unknown value type", "gguf/value-type", -1, file(3, kv("a", 13, []byte{1, 2, 3, 4}))},
	{"unknown element type", "gguf/value-type", -1, file(3, kv("a", Array, arr(99, 0, nil)))},
	{"arrays of arrays", "gguf/nested-array", -1, file(3, kv("a", Array, arr(Array, 1, arr(Uint8, 0, nil))))},
	{"bool of 2", "gguf/bool", -1, file(3, kv("a", Bool, []byte{2}))},
	{"array with a bool of 2", "gguf/bool", -1, file(3, kv("a", Array, arr(Bool, 2, []byte{1, 2})))},
	{"value cut", "gguf/truncated", -1, file(3, kv("a", Uint64, []byte{1, 2, 3, 4}))},
	{"string past the end", "gguf/truncated", -1, file(3, kv("a", String, u64(1<<40)))},
	{"string of 2^64-1", "gguf/truncated", -1, file(3, kv("a", String, u64(1<<64-1)))},
	{"array past the end", "gguf/truncated", -1, file(3, kv("a", Array, arr(Uint32, 1<<40, nil)))},
	{"array of 2^62 uint32", "gguf/truncated", -1, file(3, kv("a", Array, arr(Uint32, 1<<62, nil)))},
	{"array of 2^61+1 uint64", "gguf/truncated", -1, file(3, kv("a", Array, arr(Uint64, 1<<61+1, nil)))},
	{"array of 2^60 strings", "gguf/truncated", -1, file(3, kv("a", Array, arr(String, 1<<60, nil)))},
	{"array with a string past the end", "gguf/truncated", -1, file(3, kv("a", Array, arr(String, 2, slices.Concat(str("x"), u64(1<<50)))))},

	{"alignment 0", "gguf/alignment", -1, file(3, kv("general.alignment", Uint32, u32(0)), tensor("t", F32, 0, 1), make(data, 4))},
	{"alignment 24", "gguf/alignment", -1, file(3, kv("general.alignment", Uint32, u32(24)), tensor("t", F32, 0, 1), make(data, 4))},
	{"alignment of another type", "gguf/alignment", -1, file(3, kv("general.alignment", Uint64, u64(32)), tensor("t", F32, 0, 1), make(data, 4))},
	{"alignment 2^31", "gguf/bounds", -1, file(3, kv("general.alignment", Uint32, u32(1<<31)), tensor("t", F32, 0, 1), make(data, 4))},

	{"empty tensor name", "gguf/name", -1, file(3, tensor("", F32, 0, 1), make(data, 4))},
	{"tensor twice", "gguf/duplicate-tensor", -1, file(3, tensor("t", F32, 0, 1), tensor("t", F32, 32, 1), make(data, 64))},
	{"no dimensions", "gguf/dimensions", -1, file(3, tensor("t", F32, 0), make(data, 64))},
	{"5 dimensions", "gguf/dimensions", -1, file(3, tensor("t", F32, 0, 1, 1, 1, 1, 1), make(data, 64))},
	{"dimension 0", "gguf/dimensions", -1, file(3, tensor("t", F32, 0, 32, 0), make(data, 64))},
	{"dimension 2^63", "gguf/dimensions", -1, file(3, tensor("t", F32, 0, 1<<63), make(data, 64))},
	{"product 2^64", "gguf/dimensions", -1, file(3, tensor("t", F32, 0, 1<<30, 1<<30, 16), make(data, 64))},
	{"product 2^62", "gguf/dimensions", -1, file(3, tensor("t", F32, 0, 1<<30, 1<<30, 4), make(data, 64))},
	{"rows of half a block", "gguf/dimensions", -1, file(3, tensor("t.weight", Q4_0, 0, 48, 2), make(data, 64))},
	{"K-quants", "gguf/tensor-type", -1, file(3, tensor("t.weight", 12, 0, 256), make(data, 160))},
	{"unknown type", "gguf/tensor-type", -1, file(3, tensor("t", 1000, 0, 1), make(data, 64))},
	{"quantized, not a weight", "gguf/name", -1, file(3, tensor("t", Q4_0, 0, 32), make(data, 64))},
	{"offset off the alignment", "gguf/alignment", -1, file(3, tensor("t", F32, 8, 1), make(data, 64))},
	{"offset 2^64-32", "gguf/bounds", -1, file(3, tensor("t", F32, 1<<64-32, 1), make(data, 64))},
	{"data past the end", "gguf/bounds", -1, file(3, tensor("t", F32, 0, 17), make(data, 64))},
	{"offset past the end", "gguf/bounds", -1, file(3, tensor("t", F32, 64, 1), make(data, 64))},
	{"no data section", "gguf/bounds", -1, file(3, tensor("t", F32, 0, 1))},
	{"overlap", "gguf/overlap", -1, file(3, tensor("a", F32, 0, 16), tensor("b", F32, 32, 8), make(data, 64))},
	{"same data", "gguf/overlap", -1, file(3, tensor("a", F32, 0, 16), tensor("b", F32, 0, 16), make(data, 64))},
}

func TestHostile(t *testing.T) {
	if _, err := Parse("small", small()); err != nil {
		t.Fatalf("the sound file: %v", err)
	}
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("x.gguf", tt.data)
			var i *diag.Issue
			if !errors.As(err, &i) {
				t.Fatalf("error %v, want %s", err, tt.code)
			}
			if i.Code != tt.code || !i.Pos.HasOffset || i.Pos.Offset < 0 || i.Pos.Offset > int64(len(tt.data)) || tt.at >= 0 && i.Pos.Offset != tt.at {
				t.Errorf("%v, want %s at %d of %d bytes", err, tt.code, tt.at, len(tt.data))
			}
		})
	}
}

// A file that ends early is refused at every length.
func TestTruncated(t *testing.T) {
	whole := small()
	for n := range whole {
		if _, err := Parse("x", whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were taken for a file", n, len(whole))
		}
	}
}

func TestHFHostile(t *testing.T) {
	if f, err := Parse("llama", llama()); err != nil {
		t.Fatal(err)
	} else if _, err := f.HF(); err != nil {
		t.Fatalf("the sound model: %v", err)
	}
	set := func(key string, value uint32) []byte {
		return replace(llama(), string(kv(key, Uint32, nil))+string(u32(map[string]uint32{
			"llama.embedding_length": 32, "llama.attention.head_count": 2, "llama.block_count": 1}[key])), string(kv(key, Uint32, u32(value))))
	}
	f32 := func(x uint32) []byte { return u32(x) }
	for _, tt := range []struct {
		name, code string
		data       []byte
	}{
		{"no architecture", "gguf/metadata", file(3)},
		{"unknown architecture", "gguf/architecture", file(3, kv("general.architecture", String, str("mamba")))},
		{"missing key", "gguf/metadata", file(3, kv("general.architecture", String, str("llama")))},
		{"no heads", "gguf/metadata", set("llama.attention.head_count", 0)},
		{"3 heads of 32", "gguf/metadata", set("llama.attention.head_count", 3)},
		{"more heads than elements", "gguf/metadata", set("llama.attention.head_count", 64)},
		{"odd rows a head", "gguf/dimensions", set("llama.attention.head_count", 32)},
		{"no layers", "gguf/metadata", set("llama.block_count", 0)},
		{"heads by layer", "gguf/metadata", llama(kv("llama.attention.head_count_kv", Array, arr(Uint32, 1, u32(2))))},
		{"part of a head rotated", "gguf/metadata", llama(kv("llama.rope.dimension_count", Uint32, u32(8)))},
		{"longer values", "gguf/metadata", llama(kv("llama.attention.value_length", Uint32, u32(32)))},
		{"vocabulary", "gguf/metadata", llama(kv("llama.vocab_size", Uint32, u32(5)))},
		{"rope theta NaN", "gguf/metadata", llama(kv("llama.rope.freq_base", Float32, f32(0x7fc00000)))},
		{"rope scaling", "gguf/metadata", llama(kv("llama.rope.scaling.type", String, str("longrope")))},
		{"experts", "gguf/metadata", llama(kv("llama.expert_count", Uint32, u32(8)))},
		{"scale", "gguf/metadata", llama(kv("llama.attention.scale", Float32, f32(0x3f000000)))},
		{"window", "gguf/metadata", llama(kv("llama.attention.sliding_window", Uint32, u32(4096)))},
		{"unknown tensor", "gguf/unknown-tensor", llama(tensor("blk.0.ssm_a", F32, 736, 1), make(data, 32))},
		{"rope factors", "gguf/unknown-tensor", llama(tensor("rope_freqs.weight", F32, 736, 1), make(data, 32))},
		{"layer over the count", "gguf/unknown-tensor", llama(tensor("blk.1.attn_norm.weight", F32, 736, 1), make(data, 32))},
		{"layer spelt twice", "gguf/unknown-tensor", llama(tensor("blk.00.attn_q.weight", F32, 736, 1), make(data, 32))},
		{"scales beside a quantized weight", "gguf/unknown-tensor", llama(tensor("blk.0.attn_q.scales", F32, 736, 1), make(data, 32))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("x.gguf", tt.data)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.HF()
			var i *diag.Issue
			if !errors.As(err, &i) || i.Code != tt.code {
				t.Errorf("error %v, want %s", err, tt.code)
			}
		})
	}
}
