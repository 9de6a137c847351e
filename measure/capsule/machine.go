package capsule

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
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
	m.Version, m.Kernel, m.CPU, m.Memory = system()
	return m
}

// Finish notes the load and the temperatures at the end, and what limits heat has set.
func (m *Machine) Finish() {
	m.LoadAfter, m.Temperatures, m.Thermal = Load(), temperatures(), thermal()
}

// Slowed is the limit that heat has set to the CPU, in the words of the system; "" if there is
// none, or if the system does not tell.
func (m *Machine) Slowed() string {
	for _, line := range m.Thermal {
		name, value, ok := strings.Cut(line, " = ")
		if n, err := strconv.Atoi(value); ok && err == nil && n < 100 && (name == "CPU_Speed_Limit" || name == "CPU_Scheduler_Limit") {
			return line
		}
	}
	return ""
}

// Busy reports that others used the machine: that more was ready to run, over a minute,
// than there are cores. The measurement itself is part of it.
func (m *Machine) Busy() bool {
	busy := func(load []float64) bool { return len(load) > 0 && load[0] > float64(m.Cores)+1 }
	return busy(m.LoadBefore) || busy(m.LoadAfter)
}

// Load returns the load averages over 1, 5 and 15 minutes; nothing where they are not to be
// had.
func Load() []float64 { return load() }

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
