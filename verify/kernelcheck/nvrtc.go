package kernelcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
)

var nvrtcMessage = regexp.MustCompile(`(?m)^(.+?)\((\d+)\): (?:catastrophic )?error(?: #[\w-]+)?: (.*)$`)

// NVRTC compiles a translation unit for an NVIDIA architecture ("sm_90a") as MLX does,
// and returns the PTX. The unit is whole, from MLX's #include on. Mistakes are a
// diag.List with the code kernel/cuda; the error is ErrNoNVRTC if there is no NVRTC.
func NVRTC(src, arch string) ([]byte, error) { return nvrtc(context.Background(), src, arch) }

func nvrtc(ctx context.Context, src, arch string) ([]byte, error) {
	program, cuda, err := nvrtcProgram()
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "zmlx-nvrtc-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	source, ptx := filepath.Join(work, "kernel.cu"), filepath.Join(work, "kernel.ptx")
	if err := os.WriteFile(source, []byte(src), 0o644); err != nil {
		return nil, err
	}
	builtins, _ := filepath.Glob(filepath.Join(cuda, "lib", "libnvrtc-builtins.so.*"))
	if len(builtins) == 0 {
		return nil, ErrNoNVRTC
	}
	out, err := command(ctx, program, filepath.Join(cuda, "lib", "libnvrtc.so.13"), builtins[0], source, ptx,
		// These two, and no others, are MLX's.
		"--device-as-default-execution-space", "--gpu-architecture="+arch,
		"--include-path="+filepath.Join(cuda, "mlx"), "--include-path="+filepath.Join(cuda, "cccl"),
		"--include-path="+filepath.Join(cuda, "include")).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return os.ReadFile(ptx)
	case !errors.As(err, &exit) || exit.ExitCode() != 1:
		return nil, fmt.Errorf("NVRTC does not run: %w\n%s", err, out)
	}
	var issues diag.List
	for _, m := range nvrtcMessage.FindAllStringSubmatch(string(out), -1) {
		line, _ := strconv.Atoi(m[2])
		issues.Add(diag.Errorf("kernel/cuda", diag.Pos{File: m[1], Line: line}, "%s", strings.TrimSpace(m[3])))
	}
	if len(issues) == 0 {
		return nil, fmt.Errorf("NVRTC fails:\n%s", out)
	}
	return nil, issues
}
