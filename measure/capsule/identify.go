package capsule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
)

// What a model's sum is of (Model.Of).
const (
	WholeFiles = "whole files"
	// EndsOfFiles is what the sums of models above 2 GiB were of in earlier versions.
	EndsOfFiles = "sizes, and the first and last MiB, of each file"
)

// ends is what EndsOfFiles takes from either end of files that are larger than both.
const ends = 1 << 20

// Identity computes the sums of models. The zero value does so without a cache, and silently.
type Identity struct {
	// Cache is a file that keeps sums of large models. They hold while the files have the
	// paths, sizes, times of change and inodes that they had. What is wrong with it is no
	// error: the sum is computed again.
	Cache string
	// Tick is told now and then how many bytes of how many have been read.
	Tick func(done, all int64)
}

// cachedFrom is the size from which on the sum of a model is kept: below, it is computed in
// some tenths of a second. Tests have smaller models.
var cachedFrom int64 = 256 << 20

// Of returns the hash of a model's files (config.json, the tokenizer's, weights), all of
// them or, for capsules that say so, their ends. It ends early with the context.
func (id *Identity) Of(ctx context.Context, path, what string) (sha string, err error) {
	files, err := modelFiles(path)
	if err != nil {
		return "", err
	}
	onlyEnds := what == EndsOfFiles
	total := int64(0)
	for _, f := range files {
		total += f.Size
	}
	cache, key := "", ""
	if !onlyEnds && total >= cachedFrom && id.Cache != "" {
		cache, key = id.Cache, keyOf(files)
		if sha := readSums(cache)[key]; sha != nil {
			return sha.SHA256, nil
		}
	}
	h, begun, done := sha256.New(), time.Now(), int64(0)
	for _, f := range files {
		fmt.Fprintf(h, "%s %d\n", filepath.Base(f.Path), f.Size)
		if err := f.hash(ctx, h, onlyEnds, func(n int64) {
			if done += n; id.Tick != nil {
				id.Tick(done, total)
			}
		}); err != nil {
			return "", err
		}
	}
	sha = hex.EncodeToString(h.Sum(nil))
	// A file that somebody may still write to can change without another time of change.
	settled := !slices.ContainsFunc(files, func(f file) bool { return begun.Sub(f.changed) < settling })
	if again, err := modelFiles(path); cache != "" && err == nil && settled && keyOf(again) == key {
		keepSum(cache, key, &knownSum{Model: path, SHA256: sha, When: begun.UTC().Truncate(time.Second)})
	}
	return sha, nil
}

const settling = 2 * time.Second

// file is one of a model's.
type file struct {
	Path    string
	Size    int64
	changed time.Time
	inode   uint64
}

// modelFiles are the files that say what a model is, in the order in which they are hashed.
func modelFiles(path string) ([]file, error) {
	names := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		names = nil
		for _, glob := range []string{"*.json", "*.safetensors", "*.gguf"} {
			list, _ := filepath.Glob(filepath.Join(path, glob))
			names = append(names, list...)
		}
		slices.Sort(names)
	}
	var out []file
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, diag.Errorf("file/open", diag.Pos{File: name}, "%v", err)
		}
		out = append(out, file{name, info.Size(), info.ModTime(), inode(info)})
	}
	return out, nil
}

// hash reads a file into h, a block while the one before it is hashed.
func (f *file) hash(ctx context.Context, h hash.Hash, onlyEnds bool, tick func(int64)) error {
	bad := func(err error) error { return diag.Errorf("file/read", diag.Pos{File: f.Path}, "%v", err) }
	in, err := os.Open(f.Path)
	if err != nil {
		return bad(err)
	}
	defer in.Close()
	if onlyEnds && f.Size > 2*ends {
		for _, at := range []int64{0, f.Size - ends} {
			if _, err := io.Copy(h, io.NewSectionReader(in, at, ends)); err != nil {
				return bad(err)
			}
		}
		return ctx.Err()
	}
	type block struct {
		data []byte
		err  error
	}
	free, full := make(chan []byte, 2), make(chan block, 2)
	for range cap(free) {
		free <- make([]byte, min(f.Size+1, 1<<20))
	}
	go func() {
		defer close(full)
		for buf := range free {
			n, err := io.ReadFull(in, buf)
			if full <- (block{buf[:n], err}); err != nil {
				return
			}
		}
	}()
	// The reader ends before the file is closed.
	defer func() {
		close(free)
		for range full {
		}
	}()
	for b := range full {
		h.Write(b.data)
		tick(int64(len(b.data)))
		switch {
		case b.err == io.EOF || b.err == io.ErrUnexpectedEOF:
			return nil
		case b.err != nil:
			return bad(b.err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		free <- b.data[:cap(b.data)]
	}
	return nil
}

// keyOf is what a sum is kept under.
func keyOf(files []file) string {
	h := sha256.New()
	for _, f := range files {
		path, err := filepath.Abs(f.Path)
		if err != nil {
			path = f.Path
		}
		fmt.Fprintf(h, "%q %d %d %d\n", path, f.Size, f.changed.UnixNano(), f.inode)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// knownSum is a sum that was computed.
type knownSum struct {
	Model  string    `json:"model"` // for people
	SHA256 string    `json:"sha256"`
	When   time.Time `json:"when"`
}

type sumsFile struct {
	Version int                  `json:"zmlx"`
	Sums    map[string]*knownSum `json:"sums"` // by paths, sizes, times and inodes
}

// maxSums bounds how many sums are kept: the oldest give way.
const maxSums = 200

func readSums(path string) map[string]*knownSum {
	var f sumsFile
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &f) != nil || f.Version != diag.FormatVersion {
		return nil
	}
	for key, s := range f.Sums {
		if s == nil || len(s.SHA256) != hex.EncodedLen(sha256.Size) {
			delete(f.Sums, key)
		}
	}
	return f.Sums
}

// keepSum adds a sum to a cache, written whole or not at all. That it cannot be kept costs
// time the next time, and nothing else.
func keepSum(path, key string, s *knownSum) {
	all := readSums(path)
	if all == nil {
		all = map[string]*knownSum{}
	}
	all[key] = s
	for len(all) > maxSums {
		oldest := key
		for k, x := range all {
			if x.When.Before(all[oldest].When) {
				oldest = k
			}
		}
		delete(all, oldest)
	}
	data, err := json.MarshalIndent(sumsFile{diag.FormatVersion, all}, "", "\t")
	if err == nil && os.MkdirAll(filepath.Dir(path), 0o777) == nil {
		renameio.WriteFile(path, append(data, '\n'), 0o666)
	}
}

// inode tells a file from another one that was renamed into its place.
func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Ino)
	}
	return 0
}
