package capsule

import (
	"context"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

func system() (version, kernel, cpu string, memory int64) {
	product, _ := unix.Sysctl("kern.osproductversion") // both as sw_vers prints them
	build, _ := unix.Sysctl("kern.osversion")
	kernel, _ = unix.Sysctl("kern.osrelease")
	cpu, _ = unix.Sysctl("machdep.cpu.brand_string")
	if n, err := unix.SysctlUint64("hw.memsize"); err == nil {
		memory = int64(n)
	}
	return macVersion(product, build), kernel, cpu, memory
}

func load() []float64 {
	raw, err := unix.SysctlRaw("vm.loadavg")
	if err != nil {
		return nil
	}
	return macLoad(raw)
}

// thermal asks pmset, which needs no privileges.
func thermal() []string {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	out, err := exec.CommandContext(ctx, "/usr/bin/pmset", "-g", "therm").Output()
	if err != nil {
		return nil
	}
	return macThermal(string(out))
}
