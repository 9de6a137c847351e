package gguf

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"

	"zmlx-rewrite/diag"
)

// useAll does all that a program can do with a file. It returns the first error.
func useAll(data []byte) error {
	f, err := Parse("fuzz.gguf", data)
	if err != nil {
		return err
	}
	s, err := f.Store()
	if err != nil {
		return err
	}
	for x := range s.All() {
		if err := x.ReadInto(make([]byte, x.NumBytes())); err != nil {
			return err
		}
	}
	for _, kv := range f.Metadata {
		_ = kv.Value.String()
	}
	_, tokErr := f.Tokenizer()
	hf, err := f.HF()
	if err != nil {
		return errors.Join(err, tokErr)
	}
	for x := range hf.Weights.All() {
		if err := x.ReadInto(make([]byte, x.NumBytes())); err != nil {
			return err
		}
	}
	return tokErr
}

// checkBounded fails if using the data allocates more than 64 bytes a byte and
// 16 MiB, or gives an error without a code. TotalAlloc counts all goroutines, so
// a first excess is measured again before it counts.
func checkBounded(t testing.TB, data []byte) {
	t.Helper()
	var err error
	limit := 64*uint64(len(data)) + 16<<20
	used := uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = useAll(data)
		runtime.ReadMemStats(&after)
		if used = after.TotalAlloc - before.TotalAlloc; used <= limit {
			break
		}
	}
	if used > limit {
		t.Errorf("%d bytes allocated for a file of %d, limit %d", used, len(data), limit)
	}
	var i *diag.Issue
	if err != nil && (!errors.As(err, &i) && !errors.As(err, new(diag.List)) || i != nil && i.Code == "") {
		t.Errorf("an error without a code: %v", err)
	}
}

func FuzzGGUF(f *testing.F) {
	for _, h := range hostile {
		f.Add(h.data)
	}
	f.Add(small())
	f.Add(llama())
	f.Add(file(3, kv("general.alignment", Uint32, u32(8)), tensor("t", BF16, 8, 2), make(data, 16)))
	f.Add(llama(
		kv("tokenizer.ggml.model", String, str("gpt2")), kv("tokenizer.ggml.tokens", Array, arr(String, 2, slices.Concat(str("a"), str("b")))),
		kv("tokenizer.ggml.token_type", Array, arr(Int32, 2, make([]byte, 8))), kv("tokenizer.ggml.merges", Array, arr(String, 1, str("a b"))),
		kv("tokenizer.ggml.bos_token_id", Uint32, u32(1)), kv("tokenizer.ggml.add_bos_token", Bool, []byte{1}),
		kv("llama.rope.freq_base", Float32, u32(0x461c4000)), kv("llama.rope.scaling.type", String, str("linear")),
		kv("llama.rope.scaling.factor", Float32, u32(0x40000000)),
		tensor("blk.0.attn_q.bias", F32, 736, 32), make(data, 128)))
	// No large seeds: the fuzzer would spend its time on making them smaller.
	f.Fuzz(func(t *testing.T, data []byte) { checkBounded(t, data) })
}

// The files that cost most for their size: nothing but the smallest entries.
func TestAllocation(t *testing.T) {
	const n = 8_000
	entries := make([]any, 0, n)
	tensors := []any{kv("general.alignment", Uint32, u32(1))}
	for i := range n {
		entries = append(entries, kv(fmt.Sprint(i), Uint8, []byte{1}))
	}
	for i := range n {
		tensors = append(tensors, tensor(fmt.Sprintf("%d.weight", i), Q4_0, uint64(18*i), 32))
	}
	// Projections that are un-permuted have the longest names and most parts.
	rows := []any{
		kv("general.alignment", Uint32, u32(1)), kv("general.architecture", String, str("llama")),
		kv("llama.embedding_length", Uint32, u32(2)), kv("llama.attention.head_count", Uint32, u32(1)),
		kv("llama.block_count", Uint32, u32(n)), kv("llama.feed_forward_length", Uint32, u32(32)),
		kv("llama.context_length", Uint32, u32(8)), kv("llama.attention.layer_norm_rms_epsilon", Float32, u32(0x3727c5ac)),
		tensor("token_embd.weight", F16, 0, 1, 1),
	}
	for i := range n {
		rows = append(rows, tensor(fmt.Sprintf("blk.%d.attn_q.weight", i), Q4_0, uint64(2+36*i), 32, 2))
	}
	for name, data := range map[string][]byte{
		"entries": file(3, entries...),
		"strings": file(3, kv("a", Array, arr(String, 1<<18, make([]byte, 8<<18)))),
		"tensors": file(3, append(tensors, make(data, 18*n+32))...),
		"rows":    file(3, append(rows, make(data, 2+36*n))...),
		"bools":   file(3, kv("a", Array, arr(Bool, 1<<20, make([]byte, 1<<20)))),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(name, data); err != nil {
				t.Fatal(err)
			}
			if f, _ := Parse(name, data); name == "rows" {
				if _, err := f.HF(); err != nil {
					t.Fatal(err)
				}
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			useAll(data)
			runtime.ReadMemStats(&after)
			// These files are too small for 16 MiB more to prove anything.
			factor := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(data))
			if t.Logf("%.1f × the file", factor); factor > 64 {
				t.Errorf("%.1f × the file allocated", factor)
			}
		})
	}
}

// A length that the file does not have is not allocated for.
func TestLies(t *testing.T) {
	for elem := range numValueTypes {
		for _, n := range []uint64{1 << 28, 1 << 40, 1<<64 - 1} {
			b := file(3, kv("a", Array, arr(elem, n, make([]byte, 1000))))
			if _, err := Parse("x", b); err == nil {
				t.Errorf("an array of %d of type %v in %d bytes", n, elem, len(b))
			}
			checkBounded(t, b)
		}
	}
}

// Random mutations of sound files: quicker than fuzzing, in every test run.
func TestMutations(t *testing.T) {
	for _, name := range []string{"tiny-qwen3moe", "tiny-mixtral", "tiny-lfm2moe", "tiny-gemma2"} {
		t.Run(name, func(t *testing.T) { mutate(t, "testdata/"+name+".gguf") })
	}
}

func mutate(t *testing.T, file string) {
	tiny, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	x := uint64(1)
	next := func(n int) int { // xorshift: the same files on every run
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		return int(x % uint64(n))
	}
	const files = 3000
	for range files {
		b := slices.Clone(tiny)
		for range 1 + next(3) {
			b[next(2000)] = [...]byte{0, 1, 0x7f, 0x80, 0xff, byte(next(256))}[next(6)] // the header is there
		}
		if next(8) == 0 {
			b = b[:next(len(b))]
		}
		useAll(b)
		if _, err := Parse("x", b); err != nil {
			refused++
		}
	}
	t.Logf("%d of %d refused", refused, files)
	if refused < files/4 || refused > files*19/20 {
		t.Errorf("%d of %d files were refused: the mutations test nothing", refused, files)
	}
}
