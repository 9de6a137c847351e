package kernelcheck

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// What a machine may lack; scripts/setup-tools.sh fetches both.
var (
	ErrNoClang = errors.New("no clang to check types with: run scripts/setup-tools.sh, or install clang 15 or newer")
	ErrNoNVRTC = errors.New("no NVRTC to compile for NVIDIA with: run scripts/setup-tools.sh (Linux only)")
)

// tools is the folder of scripts/setup-tools.sh: ZMLX_TOOLS, or .cache/tools of the
// checkout around the working folder.
func tools() string {
	if dir := os.Getenv("ZMLX_TOOLS"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache", "tools")
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return ".cache/tools"
}

// clang returns the command that runs clang: the pinned one, or the system's.
func clang() ([]string, error) {
	if zig := filepath.Join(tools(), "zig"); exists(zig) {
		return []string{zig, "clang"}, nil
	}
	if path, err := exec.LookPath("clang"); err == nil {
		return []string{path}, nil
	}
	return nil, ErrNoClang
}

//go:embed nvrtc/nvrtc.c
var nvrtcSource []byte

// nvrtcProgram returns the program that calls NVRTC, compiled on first use, and the folder
// with NVRTC and its headers.
func nvrtcProgram() (program, cuda string, err error) {
	cuda = filepath.Join(tools(), "cuda")
	if !exists(filepath.Join(cuda, "stamp")) {
		return "", "", ErrNoNVRTC
	}
	sum := sha256.Sum256(nvrtcSource)
	program = filepath.Join(tools(), "nvrtc-"+hex.EncodeToString(sum[:6]))
	if exists(program) {
		return program, cuda, nil
	}
	cc, err := Compiler()
	if err != nil {
		return "", "", err
	}
	work, err := os.MkdirTemp(tools(), "nvrtc-*.tmp")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(work)
	source, built := filepath.Join(work, "nvrtc.c"), filepath.Join(work, "nvrtc")
	if err := os.WriteFile(source, nvrtcSource, 0o644); err != nil {
		return "", "", err
	}
	if out, err := exec.Command(cc, "-x", "c", "-O1", "-o", built, source, "-ldl").CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("nvrtc.c does not compile: %w\n%s", err, out)
	}
	// Whole or not at all: tests of several packages may build it at a time.
	return program, cuda, os.Rename(built, program)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
