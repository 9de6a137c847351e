package capsule

import (
	"os"
	"strconv"
	"strings"
)

func system() (kernel, cpu string, memory int64) {
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(data))
	}
	if v, ok := field("/proc/cpuinfo", "model name"); ok {
		cpu = v
	}
	if v, ok := field("/proc/meminfo", "MemTotal"); ok {
		if kib, err := strconv.ParseInt(strings.TrimSuffix(v, " kB"), 10, 64); err == nil {
			memory = kib << 10
		}
	}
	return kernel, cpu, memory
}

// field returns what stands behind "name:" in a file of such lines.
func field(file, name string) (string, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}
