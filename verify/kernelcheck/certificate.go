package kernelcheck

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/kernels/compat"
)

// Certificate says that a kernel passed all checks that need no GPU. It holds for what was
// checked, by content: a spec, source, shared header or checker that has changed since
// is not certified.
type Certificate struct {
	Kernel  string `json:"kernel"`
	Content string `json:"content"` // kernels.Spec.ContentHash
	Checker string `json:"checker"` // CheckerHash
	Cases   int    `json:"cases"`
	Choices int    `json:"choices"` // combinations of element types, absent inputs and attributes
	Covered int    `json:"covered"` // of those, how many had a case
	Runs    int    `json:"runs"`
	Types   int    `json:"types"` // units checked as Metal
	CUDA    int    `json:"cuda"`  // units compiled for NVIDIA
}

// judging is how cases are made and run, and how results are compared.
//
//go:embed cases.go check.go compare.go drift.go driver.go reference.go static.go typecheck.go
var judging embed.FS

// CheckerHash covers what runs a source on the CPU, and how it is judged.
func CheckerHash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s", len(driverSource), driverSource)
	for _, fsys := range []fs.FS{compat.FS, judging} {
		_ = fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasPrefix(path, "lib/") { // those are in the kernels' own hashes
				return err
			}
			data, err := fs.ReadFile(fsys, path)
			fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
			return err
		})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Certificates are those of a file, by kernel.
type Certificates map[string]*Certificate

// certificateFile is the file's form.
type certificateFile struct {
	Version int            `json:"zmlx"`
	Kernels []*Certificate `json:"kernels"`
}

// ReadCertificates reads a file of certificates. One that is not there has none.
func ReadCertificates(path string) (Certificates, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return Certificates{}, nil
	}
	if err != nil {
		return nil, err
	}
	return parseCertificates(path, data)
}

// ShippedCertificates are those that are built in.
func ShippedCertificates() (Certificates, error) {
	return parseCertificates("kernels/certificates.json", kernels.Certificates)
}

func parseCertificates(path string, data []byte) (Certificates, error) {
	list := Certificates{}
	var f certificateFile
	if err := json.Unmarshal(data, &f); err != nil || f.Version != diag.FormatVersion {
		return nil, diag.Errorf("kernel/certificates", diag.Pos{File: path}, "is not a file of certificates of this version").WithHint("write it again: make certify")
	}
	for _, c := range f.Kernels {
		list[c.Kernel] = c
	}
	return list, nil
}

// Write writes the file, whole or not at all, in order of kernels.
func (l Certificates) Write(path string) error {
	f := certificateFile{Version: diag.FormatVersion, Kernels: []*Certificate{}}
	for _, name := range sortedKeys(l) {
		f.Kernels = append(f.Kernels, l[name])
	}
	data, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(data, '\n'), 0o666)
}

// Current reports whether a kernel's certificate is for what the kernel is now.
func (l Certificates) Current(s *kernels.Spec, checker string) bool {
	c := l[s.Name]
	return c != nil && c.Content == s.ContentHash && c.Checker == checker
}

func sortedKeys(l Certificates) []string { return slices.Sorted(maps.Keys(l)) }
