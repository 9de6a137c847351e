package capsule

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestIdentify: every byte of a model counts, and where its files are does not.
func TestIdentify(t *testing.T) {
	sum := func(weights string) string {
		dir := t.TempDir()
		for name, text := range map[string]string{"config.json": "{}", "model.safetensors": weights, "README.md": t.Name()} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		sha, err := (&Identity{}).Of(t.Context(), dir, WholeFiles)
		if err != nil {
			t.Fatal(err)
		}
		return sha
	}
	long := make([]byte, 5<<20)
	for i := range long {
		long[i] = byte(i >> 8)
	}
	want := fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "config.json 2\n{}model.safetensors %d\n%s", len(long), long)))
	if got := sum(string(long)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	long[3<<20]++
	if a, b := sum("x"), sum("x"); a != b {
		t.Error("the same files in another folder are another model")
	}
	if a, b := sum("x"), sum("y"); a == b || sum(string(long)) == want {
		t.Error("other weights are the same model")
	}
}

// lower makes sums of models of 16 MiB worth keeping.
func lower(t *testing.T) {
	before := cachedFrom
	cachedFrom = 16 << 20
	t.Cleanup(func() { cachedFrom = before })
}

// large makes a file whose sum is kept: a hole, which takes no room, with one byte in it.
func large(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(cachedFrom + 1); err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{1}, at)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
}

// TestIdentifyEnds: what capsules of earlier versions say of large models can still be held
// against them; a byte in the middle does not count there, and does in whole files.
func TestIdentifyEnds(t *testing.T) {
	lower(t)
	dir := t.TempDir()
	of := func(at int64) string {
		file := filepath.Join(dir, "big.gguf")
		large(t, file, at)
		sha, err := (&Identity{}).Of(t.Context(), file, EndsOfFiles)
		if err != nil {
			t.Fatal(err)
		}
		return sha
	}
	h := sha256.New()
	fmt.Fprintf(h, "big.gguf %d\n", cachedFrom+1)
	data := make([]byte, 2*ends)
	data[0] = 1
	h.Write(data)
	if want := fmt.Sprintf("%x", h.Sum(nil)); of(0) != want {
		t.Error("not the sum of both ends")
	}
	if of(0) == of(cachedFrom) || of(ends) != of(ends+1) {
		t.Error("more or less than the ends counts")
	}
}

// TestIdentifyCache: the sum of a large model is computed once, until something of its file
// changes.
func TestIdentifyCache(t *testing.T) {
	lower(t)
	dir := t.TempDir()
	file, cache := filepath.Join(dir, "big.gguf"), filepath.Join(dir, "cache", "sums.json")
	large(t, file, cachedFrom/2)
	read := int64(0)
	id := &Identity{Cache: cache, Tick: func(done, all int64) {
		if read = done; all != cachedFrom+1 {
			t.Errorf("%d of %d bytes", done, all)
		}
	}}
	of := func(reads bool) string {
		t.Helper()
		read = 0
		sha, err := id.Of(t.Context(), file, WholeFiles)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int64{true: cachedFrom + 1}[reads]; read != want {
			t.Errorf("%d bytes were read, not %d", read, want)
		}
		return sha
	}
	first := of(true)
	if again := of(false); again != first {
		t.Error("another sum from the cache")
	}
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	large(t, file, cachedFrom/2+1)
	info, err := os.Stat(file + ".old")
	if err != nil {
		t.Fatal(err)
	}
	// Size and time are those of the old one: the inode is another.
	if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	second := of(true)
	if second == first {
		t.Error("another byte in the middle, and the sum is the same")
	}
	// A file that has just been written may be written again within the same tick of a clock.
	now := time.Now()
	os.Chtimes(file, now, now)
	of(true)
	of(true)
	os.Chtimes(file, info.ModTime(), info.ModTime())
	if of(false) != second {
		t.Error("the sum from before was lost")
	}
	// A cache that is broken is none.
	if err := os.WriteFile(cache, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if of(true) != second || of(false) != second {
		t.Error("another sum behind a broken cache")
	}
}

// TestIdentifyStops: ctrl-C ends it, and nothing is kept of half a sum.
func TestIdentifyStops(t *testing.T) {
	lower(t)
	dir := t.TempDir()
	file, cache := filepath.Join(dir, "big.gguf"), filepath.Join(dir, "sums.json")
	large(t, file, 0)
	ctx, stop := context.WithCancel(t.Context())
	read := int64(0)
	id := &Identity{Cache: cache, Tick: func(done, _ int64) { read = done; stop() }}
	if _, err := id.Of(ctx, file, WholeFiles); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(cache); read > 8<<20 || !os.IsNotExist(err) {
		t.Errorf("%d bytes were read; cache: %v", read, err)
	}
}
