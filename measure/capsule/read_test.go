package capsule

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
)

// TestThermal: what pmset -g therm was recorded to print.
func TestThermal(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
		slowed     string
	}{
		// https://github.com/prometheus/node_exporter/issues/2031, of an Intel Mac
		{"intel", "Note: No thermal warning level has been recorded\nNote: No performance warning level has been recorded\n2021-05-02 11:51:57 +0800 CPU Power notify\n" +
			"\tCPU_Scheduler_Limit \t= 100\n\tCPU_Available_CPUs \t= 12\n\tCPU_Speed_Limit \t= 100\n",
			[]string{"No thermal warning level has been recorded", "No performance warning level has been recorded", "CPU_Scheduler_Limit = 100", "CPU_Available_CPUs = 12", "CPU_Speed_Limit = 100"}, ""},
		// https://github.com/yujitach/MenuMeters/issues/158, while the CPU was slowed down; 8 CPUs are no limit
		{"hot", "2020-06-26 12:30:37 +0200 CPU Power notify\n\tCPU_Scheduler_Limit \t= 40\n\tCPU_Available_CPUs \t= 8\n\tCPU_Speed_Limit \t= 28\n",
			[]string{"CPU_Scheduler_Limit = 40", "CPU_Available_CPUs = 8", "CPU_Speed_Limit = 28"}, "CPU_Scheduler_Limit = 40"},
		// https://github.com/exelban/stats/issues/749, of an M1 Pro with macOS 12.1
		{"apple", "Note: No thermal warning level has been recorded\nNote: No performance warning level has been recorded\nNote: No CPU power status has been recorded\n",
			[]string{"No thermal warning level has been recorded", "No performance warning level has been recorded", "No CPU power status has been recorded"}, ""},
		{"nothing", "", nil, ""},
	} {
		m := Machine{Thermal: macThermal(c.text)}
		if !slices.Equal(m.Thermal, c.want) || m.Slowed() != c.slowed {
			t.Errorf("%s: %q, slowed %q", c.name, m.Thermal, m.Slowed())
		}
	}
}

// TestMacLoad: struct loadavg of <sys/resource.h>, as arm64 and amd64 lay it out.
func TestMacLoad(t *testing.T) {
	raw := make([]byte, 24)
	for i, x := range []uint32{3072, 4096, 512} {
		binary.LittleEndian.PutUint32(raw[4*i:], x)
	}
	binary.LittleEndian.PutUint32(raw[12:], 0xdeadbeef) // padding holds anything
	binary.LittleEndian.PutUint64(raw[16:], 2048)
	if got := macLoad(raw); fmt.Sprint(got) != "[1.5 2 0.25]" {
		t.Errorf("%v", got)
	}
	if macLoad(raw[:20]) != nil || macLoad(make([]byte, 24)) != nil {
		t.Error("what is too short, or has no scale, is no load")
	}
}

func TestVersions(t *testing.T) {
	// The example of os-release(5), https://www.freedesktop.org/software/systemd/man/latest/os-release.html, and its other quoting.
	for text, want := range map[string]string{
		"NAME=Fedora\nVERSION=\"32 (Workstation Edition)\"\nID=fedora\nVERSION_ID=32\nPRETTY_NAME=\"Fedora 32 (Workstation Edition)\"\n": "Fedora 32 (Workstation Edition)",
		"PRETTY_NAME='Alpine Linux v3.22'\nNAME=x\n": "Alpine Linux v3.22", "PRETTY_NAME=Linux\n": "Linux", "NAME=x\n": "", "": "",
	} {
		if got := prettyName(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := macVersion("15.5", "24F74"); got != "macOS 15.5 (24F74)" {
		t.Error(got)
	}
	if macVersion("", "") != "" || macVersion("10.15.7", "") != "macOS 10.15.7" {
		t.Error("without a version or a build")
	}
	if m := ThisMachine(); m.OS == "linux" && (m.CPU == "" || m.Kernel == "" || m.Memory == 0 || len(m.LoadBefore) != 3) {
		t.Errorf("%+v", m)
	}
}
