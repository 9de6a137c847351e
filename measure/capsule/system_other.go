//go:build !linux && !darwin

package capsule

func system() (kernel, cpu string, memory int64) { return "", "", 0 }
