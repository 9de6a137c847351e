package capsule

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
)

// ThisProgram describes the running binary.
func ThisProgram(version string) Program {
	p := Program{Version: version, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				p.Revision = s.Value
			case "vcs.modified":
				p.Modified = s.Value == "true"
			}
		}
	}
	return p
}

// ThisMachine describes the machine, with its load of now.
func ThisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), LoadBefore: Load()}
	m.Kernel, m.CPU, m.Memory = system()
	return m
}

// Finish notes the load and the temperatures at the end.
func (m *Machine) Finish() {
	m.LoadAfter, m.Temperatures = Load(), temperatures()
}

// Busy reports that others used the machine: that more was ready to run, over a minute,
// than there are cores. The measurement itself is part of it.
func (m *Machine) Busy() bool {
	busy := func(load []float64) bool { return len(load) > 0 && load[0] > float64(m.Cores)+1 }
	return busy(m.LoadBefore) || busy(m.LoadAfter)
}

// Load returns the load averages over 1, 5 and 15 minutes; nothing where the system does not
// tell them in a file.
func Load() []float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil
	}
	var out []float64
	for _, f := range strings.Fields(string(data))[:3] {
		x, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return nil
		}
		out = append(out, x)
	}
	return out
}

func temperatures() []float64 {
	var out []float64
	files, _ := filepath.Glob("/sys/class/thermal/thermal_zone*/temp")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if milli, err := strconv.ParseFloat(strings.TrimSpace(string(data)), 64); err == nil {
			out = append(out, milli/1000)
		}
	}
	return out
}

// Driver is the version of NVIDIA's driver, "" if there is none.
func Driver() string {
	data, err := os.ReadFile("/proc/driver/nvidia/version")
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(strings.TrimPrefix(line, "NVRM version:"))
}

// Environment returns the variables that may change what is measured.
func Environment() map[string]string {
	out := map[string]string{}
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "MLX_") || strings.HasPrefix(name, "ZMLX_") {
			out[name] = value
		}
	}
	return out
}

// wholeFiles is the size up to which files are hashed whole: 2 GiB take some seconds.
const wholeFiles = 2 << 30

// ends is what is read at either end of larger files. The header of a safetensors file,
// with all names and places, is at its beginning.
const ends = 1 << 20

// Identify returns the hash of a model's files (config.json, the tokenizer's, weights), and
// of what it is.
func Identify(path string) (sha, of string, err error) {
	var files []string
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		for _, glob := range []string{"*.json", "*.safetensors", "*.gguf"} {
			list, _ := filepath.Glob(filepath.Join(path, glob))
			files = append(files, list...)
		}
		slices.Sort(files)
	} else {
		files = []string{path}
	}
	total := int64(0)
	sizes := make([]int64, len(files))
	for i, f := range files {
		info, e := os.Stat(f)
		if e != nil {
			return "", "", diag.Errorf("file/open", diag.Pos{File: f}, "%v", e)
		}
		sizes[i] = info.Size()
		total += sizes[i]
	}
	of = "whole files"
	if total > wholeFiles {
		of = "sizes, and the first and last MiB, of each file"
	}
	h := sha256.New()
	for i, f := range files {
		fmt.Fprintf(h, "%s %d\n", filepath.Base(f), sizes[i])
		if err := hashFile(h, f, sizes[i], total <= wholeFiles); err != nil {
			return "", "", diag.Errorf("file/read", diag.Pos{File: f}, "%v", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), of, nil
}

func hashFile(w io.Writer, file string, size int64, whole bool) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if whole || size <= 2*ends {
		_, err = io.Copy(w, f)
		return err
	}
	if _, err := io.Copy(w, io.NewSectionReader(f, 0, ends)); err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(f, size-ends, ends))
	return err
}
