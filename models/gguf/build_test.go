package gguf

import (
	"encoding/binary"
	"slices"
)

// Pieces of a GGUF file, for tests that need a broken one.

var le = binary.LittleEndian

func str(s string) []byte { return append(le.AppendUint64(nil, uint64(len(s))), s...) }

func u32(x uint32) []byte { return le.AppendUint32(nil, x) }

func u64(x uint64) []byte { return le.AppendUint64(nil, x) }

// kv is a metadata entry, info a tensor description.
type (
	entry []byte
	info  []byte
	data  []byte
)

func kv(key string, t ValueType, value []byte) entry {
	return slices.Concat(str(key), u32(uint32(t)), value)
}

func arr(t ValueType, n uint64, elements []byte) []byte {
	return slices.Concat(u32(uint32(t)), u64(n), elements)
}

// tensor describes one with the dimensions in the file's order, innermost first.
func tensor(name string, t Type, offset uint64, dims ...uint64) info {
	b := slices.Concat(str(name), u32(uint32(len(dims))))
	for _, d := range dims {
		b = append(b, u64(d)...)
	}
	return slices.Concat(b, u32(uint32(t)), u64(offset))
}

// file joins the parts, in any order, to a file with the right counts and a data
// section at the next multiple of 32.
func file(version uint32, parts ...any) []byte {
	var kvs, infos, tail []byte
	var nKV, nInfo uint64
	for _, p := range parts {
		switch p := p.(type) {
		case entry:
			kvs, nKV = append(kvs, p...), nKV+1
		case info:
			infos, nInfo = append(infos, p...), nInfo+1
		case data:
			tail = append(tail, p...)
		}
	}
	b := slices.Concat([]byte(magic), u32(version), u64(nInfo), u64(nKV), kvs, infos)
	if len(tail) > 0 {
		for len(b)%32 != 0 {
			b = append(b, 0)
		}
	}
	return append(b, tail...)
}

// small is a sound file: 3 entries and 4 tensors, like those whose mutations
// crash MLX's reader.
func small() []byte {
	return file(3,
		kv("general.architecture", String, str("llama")),
		kv("k", Uint32, u32(2)),
		kv("arr", Array, arr(String, 3, slices.Concat(str("a"), str("bb"), str("ccc")))),
		tensor("t0", F32, 0, 32, 4), tensor("t1", F32, 512, 32, 4), tensor("t2", F32, 1024, 32, 4), tensor("t3", F32, 1536, 32, 4),
		make(data, 2048))
}

// llama is the least that HF takes for a model, with one query projection.
func llama(extra ...any) []byte {
	parts := []any{
		kv("general.architecture", String, str("llama")),
		kv("llama.embedding_length", Uint32, u32(32)), kv("llama.attention.head_count", Uint32, u32(2)),
		kv("llama.block_count", Uint32, u32(1)), kv("llama.feed_forward_length", Uint32, u32(32)),
		kv("llama.context_length", Uint32, u32(8)), kv("llama.attention.layer_norm_rms_epsilon", Float32, u32(0x3727c5ac)),
		tensor("token_embd.weight", Q8_0, 0, 32, 4), tensor("blk.0.attn_q.weight", Q4_0, 160, 32, 32),
		make(data, 160+32*18),
	}
	return file(3, append(parts, extra...)...)
}
