//go:build !linux && !darwin

package capsule

func system() (version, kernel, cpu string, memory int64) { return "", "", "", 0 }

func load() []float64 { return nil }

func thermal() []string { return nil }
