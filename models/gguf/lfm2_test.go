package gguf

import (
	"errors"
	"slices"
	"testing"

	"zmlx-rewrite/diag"
)

// lfm2 is the least that HF takes for an LFM2 with experts: a layer with a convolution
// and one with attention.
func lfm2(edit map[string]entry, extra ...any) []byte {
	const arch = "lfm2moe."
	number := func(key string, n uint32) entry { return kv(arch+key, Uint32, u32(n)) }
	entries := map[string]entry{
		"general.architecture": kv("general.architecture", String, str("lfm2moe")),
		"heads":                kv(arch+"attention.head_count_kv", Array, arr(Int32, 2, slices.Concat(u32(0), u32(1)))),
		"eps":                  kv(arch+"attention.layer_norm_rms_epsilon", Float32, u32(0x3727c5ac)),
	}
	for key, n := range map[string]uint32{"embedding_length": 32, "attention.head_count": 2, "block_count": 2, "feed_forward_length": 32, "context_length": 8,
		"shortconv.l_cache": 3, "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 32, "leading_dense_block_count": 1, "expert_gating_func": 2} {
		entries[key] = number(key, n)
	}
	for key, e := range edit {
		entries[key] = e
	}
	parts := []any{tensor("token_embd.weight", Q8_0, 0, 32, 4), make(data, 160)}
	for _, e := range entries {
		if e != nil {
			parts = append(parts, e)
		}
	}
	return file(3, append(parts, extra...)...)
}

func TestLFM2Hostile(t *testing.T) {
	number := func(key string, n uint32) map[string]entry {
		return map[string]entry{key: kv("lfm2moe."+key, Uint32, u32(n))}
	}
	heads := func(n ...uint32) map[string]entry {
		var b []byte
		for _, x := range n {
			b = append(b, u32(x)...)
		}
		return map[string]entry{"heads": kv("lfm2moe.attention.head_count_kv", Array, arr(Uint32, uint64(len(n)), b))}
	}
	for _, tt := range []struct {
		name, code string
		data       []byte
	}{
		{"sound", "", lfm2(nil)},
		{"unsigned heads", "", lfm2(heads(0, 1))},
		{"two numbers of heads", "gguf/metadata", lfm2(heads(2, 1))},
		{"negative heads", "gguf/metadata", lfm2(map[string]entry{"heads": kv("lfm2moe.attention.head_count_kv", Array, arr(Int32, 2, slices.Concat(u32(0), u32(1<<32-1))))})},
		{"heads of one layer", "gguf/metadata", lfm2(heads(1))},
		{"one number for all", "gguf/metadata", lfm2(map[string]entry{"heads": kv("lfm2moe.attention.head_count_kv", Uint32, u32(1))})},
		{"no heads", "gguf/metadata", lfm2(map[string]entry{"heads": nil})},
		{"no taps", "gguf/metadata", lfm2(map[string]entry{"shortconv.l_cache": nil})},
		{"softmax", "gguf/metadata", lfm2(number("expert_gating_func", 1))},
		{"no function", "gguf/metadata", lfm2(map[string]entry{"expert_gating_func": nil})},
		{"scale", "gguf/metadata", lfm2(nil, kv("lfm2moe.expert_weights_scale", Float32, u32(0x40200000)))},
		{"scale of 1", "", lfm2(nil, kv("lfm2moe.expert_weights_scale", Float32, u32(0x3f800000)))},
		{"window", "gguf/metadata", lfm2(nil, kv("lfm2moe.attention.sliding_window", Uint32, u32(4096)))},
		{"experts in a dense model", "gguf/metadata", file(3, kv("general.architecture", String, str("lfm2")),
			kv("lfm2.embedding_length", Uint32, u32(32)), kv("lfm2.attention.head_count", Uint32, u32(2)), kv("lfm2.block_count", Uint32, u32(1)),
			kv("lfm2.feed_forward_length", Uint32, u32(32)), kv("lfm2.context_length", Uint32, u32(8)), kv("lfm2.shortconv.l_cache", Uint32, u32(3)),
			kv("lfm2.attention.head_count_kv", Array, arr(Int32, 1, u32(1))), kv("lfm2.attention.layer_norm_rms_epsilon", Float32, u32(0x3727c5ac)),
			kv("lfm2.expert_count", Uint32, u32(4)), tensor("token_embd.weight", Q8_0, 0, 32, 4), make(data, 160))},
		{"filter of one dimension", "gguf/dimensions", lfm2(nil, tensor("blk.0.shortconv.conv.weight", F32, 160, 8), make(data, 32))},
		{"quantized filter", "gguf/dimensions", lfm2(nil, tensor("blk.0.shortconv.conv.weight", Q8_0, 160, 32, 1), make(data, 64))},
		{"a weight for a bias", "gguf/unknown-tensor", lfm2(nil, tensor("blk.1.exp_probs_b.weight", F32, 160, 4), make(data, 32))},
		{"last norm of others", "gguf/unknown-tensor", lfm2(nil, tensor("output_norm.weight", F32, 160, 8), make(data, 32))},
		{"other convolution", "gguf/unknown-tensor", lfm2(nil, tensor("blk.0.shortconv.weight", F32, 160, 8), make(data, 32))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("x.gguf", tt.data)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.HF()
			if tt.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var i *diag.Issue
			if !errors.As(err, &i) || i.Code != tt.code {
				t.Errorf("error %v, want %s", err, tt.code)
			}
		})
	}
}
