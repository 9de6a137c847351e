package capsule

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// What systems say of themselves, read on any of them.

// prettyName finds the name and version in os-release(5).
func prettyName(text string) string {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME=")
		if !ok {
			continue
		}
		for _, quote := range []string{`"`, "'"} {
			if inner, ok := strings.CutPrefix(value, quote); ok {
				value = strings.TrimSuffix(inner, quote)
			}
		}
		return value
	}
	return ""
}

// macVersion is what macOS is called: "macOS 15.5 (24F74)".
func macVersion(product, build string) string {
	if product == "" {
		return ""
	}
	if build != "" {
		build = " (" + build + ")"
	}
	return "macOS " + product + build
}

// macLoad reads vm.loadavg: three numbers of 32 bits, and behind the padding that a long
// needs what each is to be divided by.
func macLoad(raw []byte) []float64 {
	if len(raw) < 24 {
		return nil
	}
	scale := binary.LittleEndian.Uint64(raw[16:])
	if scale == 0 {
		return nil
	}
	out := make([]float64, 3)
	for i := range out {
		out[i] = float64(binary.LittleEndian.Uint32(raw[4*i:])) / float64(scale)
	}
	return out
}

// macThermal reads pmset -g therm: limits as "name = value", and notes, such as that nothing
// was recorded, which is all that is said on Apple silicon. When a limit was set is left out.
func macThermal(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if note, ok := strings.CutPrefix(line, "Note: "); ok {
			out = append(out, note)
		} else if name, value, ok := strings.Cut(line, "="); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				out = append(out, strings.TrimSpace(name)+" = "+strconv.Itoa(n))
			}
		}
	}
	return out
}
