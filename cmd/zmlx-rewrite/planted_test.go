//go:build mlx

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"zmlx-rewrite/decode"
	"zmlx-rewrite/verify/kernelcheck"
	"zmlx-rewrite/verify/whole"
)

// planted is a library that has all kernels of another one, but for one: what its spec says
// is right, what MISTAKE makes of it is not.
const planted = `
#include "zmlx_kernel.h"
#include <dlfcn.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static zmlx_kernel list[256];
static int count;
static int (*right)(const zmlx_call *);

static int wrong(const zmlx_call *c) {
  int failed = right(c);
  if (failed) return failed;
  MISTAKE
  return 0;
}

ZMLX_EXPORT const zmlx_kernel *zmlx_kernels(int *n) {
  if (!count) {
    void *lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    const zmlx_kernel *all = ((const zmlx_kernel *(*)(int *))dlsym(lib, "zmlx_kernels"))(&count);
    memcpy(list, all, count * sizeof *all);
    for (int i = 0; i < count; i++)
      if (!strcmp(list[i].name, KERNEL)) right = list[i].run, list[i].run = wrong;
  }
  *n = count;
  return list;
}
ZMLX_EXPORT const char *zmlx_error(void) { return ""; }
`

// plant returns the library of CPU kernels, and one in which a kernel makes a mistake.
func plant(t *testing.T, kernel, mistake string) (right, wrong string) {
	t.Helper()
	right = os.Getenv("ZMLX_KERNELS")
	if right == "" {
		right = firstFile("", "bin/libzmlx-kernels.so")
	}
	if right == "" {
		t.Skip("needs the library of CPU kernels (make build)")
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux: the planted library is written for it")
	}
	compiler, err := kernelcheck.Compiler()
	if err != nil {
		t.Skipf("needs a C++ compiler: %v", err)
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "wrong.cpp")
	wrong = filepath.Join(dir, "wrong.so")
	if err := os.WriteFile(source, []byte(planted), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(compiler, "-O1", "-fPIC", "-shared", "-I../../kernels/cpu", fmt.Sprintf("-DKERNEL=%q", kernel), "-DMISTAKE="+mistake, fmt.Sprintf("-DLIBRARY=%q", right), source, "-o", wrong, "-ldl").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return right, wrong
}

// with runs the command in a process of its own with a library of kernels, and returns what it
// prints and its exit code.
func with(t *testing.T, library string, args ...string) (stdout string, code int) {
	t.Helper()
	cmd := exec.Command("zmlx-rewrite", args...)
	cmd.Env = append(os.Environ(), "ZMLX_KERNELS="+library)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		code = ee.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code > 1 {
		t.Fatalf("%s: exit code %d: %s", args[0], code, stderr.String())
	}
	return string(out), code
}

// TestPlantedDivergence: validate finds a kernel that is off by one unit in the last place.
// In the model, a token that is never taken gets the row of the output matrix of one that is,
// so that the two tie; the lower one is taken, until the other's logit is that unit higher.
// It says at which step, and that the unrewritten model could not tell either: a near tie. A
// kernel that is off by a hundredth there is no near tie, and fails.
func TestPlantedDivergence(t *testing.T) {
	const trained, text, n = "../../testdata/trained/qwen3_moe", "The evening was spent in", 24
	taken, step := surest(t, trained, text, n)
	tied := taken[step] + 1
	for slices.Contains(taken, tied) {
		tied++
	}
	model := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(model, os.DirFS(trained)); err != nil {
		t.Fatal(err)
	}
	vocab := copyRow(t, filepath.Join(model, "model.safetensors"), "lm_head.", taken[step], tied)
	mistake := func(change string) string {
		return fmt.Sprintf(`if (c->ints[2] == %d && c->types[4] == zmlx_float32) for (float *x = (float *)c->out[0] + %d, *end = x + c->ints[0] * %[1]d; x < end; x += %[1]d) *x = %[3]s;`, vocab, tied, change)
	}
	right, wrong := plant(t, "qmv", mistake("nextafterf(*x, INFINITY)"))

	validate := func(library string, more ...string) (v validated, code int) {
		out, code := with(t, library, append([]string{"validate", model, "--dtype", "float32", "--ignore-chat-template", "--prompt", text, "--max-tokens", fmt.Sprint(n), "-o", "json"}, more...)...)
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if v.Kernels["qmv"] == 0 || v.KernelRuns != "cpu" {
			t.Fatalf("kernels ran as %s: %v", v.KernelRuns, v.Kernels)
		}
		return v, code
	}
	if v, code := validate(right, "--strict"); code != 0 || v.FirstDiff != -1 || v.Margin != 0 || v.MarginStep != step {
		t.Errorf("the right kernel: exit code %d, %+v; want a margin of 0 at step %d", code, v, step)
	}
	v, code := validate(wrong)
	if code != 0 || v.Verdict != "near-tie" || v.FirstDiff != step || v.Margin != 0 {
		t.Errorf("the wrong kernel: exit code %d, %+v; want a near tie at step %d", code, v, step)
	}
	if v, code := validate(wrong, "--strict"); code != 1 || v.Verdict != "near-tie" {
		t.Errorf("the wrong kernel, strict: exit code %d, %+v; want 1", code, v)
	}
	if v.MaxError > 1e-4 {
		t.Errorf("more than a unit was planted: the largest logit error is %v", v.MaxError)
	}
	_, worse := plant(t, "qmv", mistake("*x + fabsf(*x) * 0.01f"))
	if v, code := validate(worse); code != 1 || v.Verdict != "differs" || v.FirstDiff < 0 || v.FirstDiff > step {
		t.Errorf("a worse kernel: exit code %d, %+v", code, v)
	}
}

// TestPlantedRegression: matrix gate finds a rule whose kernel has become slower. The same
// kernels measured twice are no regression, however busy the machine is.
func TestPlantedRegression(t *testing.T) {
	right, slow := plant(t, "gather_qmm_swiglu", "usleep(20000);") // four a step, of a step of a few milliseconds at most
	dir := t.TempDir()
	measure := func(library, name string) {
		with(t, library, "bench", "--model", "../../testdata/trained/qwen3_moe", "--dtype", "float32", "-p", "0", "-n", "6", "-r", "5", "--capsule", filepath.Join(dir, name))
	}
	measure(right, "1.json")
	measure(right, "2.json")
	if out, code := with(t, right, "matrix", "gate", "--threshold", "0.3", dir); code != 0 {
		t.Errorf("the same twice: exit code %d: %s", code, out)
	}
	measure(slow, "3.json")
	out, code := with(t, right, "matrix", "gate", "--threshold", "0.3", dir)
	if code != 1 || !strings.HasPrefix(out, "regressed ") || !strings.Contains(out, "tg6: 0.") || !strings.Contains(out, "(3.json against 2.json)") {
		t.Errorf("a slower kernel: exit code %d: %s", code, out)
	}
}

// surest returns the greedy tokens of the unrewritten model, and the step of which it was
// surest: there the log-probabilities keep the last bits of logits.
func surest(t *testing.T, model, text string, n int) (tokens []int, step int) {
	t.Helper()
	p := newIdentity(t, model, "inference", "float32")
	tok, err := p.r.model.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	_, steps, err := whole.Steps(context.Background(), p.before, tok.Encode(text, true), decode.Options{MaxTokens: n})
	if err != nil {
		t.Fatal(err)
	}
	best := math.Inf(-1)
	for i, s := range steps {
		tokens = append(tokens, s.ID)
		if m := decode.Margin(s.Logits); m > best {
			best, step = m, i
		}
	}
	return tokens, step
}

// copyRow copies a row of all matrices of a safetensors file whose names begin so, and returns
// how many rows they have.
func copyRow(t *testing.T, file, prefix string, from, to int) (rows int) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	start := 8 + int(binary.LittleEndian.Uint64(data))
	var head map[string]json.RawMessage
	if err := json.Unmarshal(data[8:start], &head); err != nil {
		t.Fatal(err)
	}
	for name, raw := range head {
		if len(name) < len(prefix) || name[:len(prefix)] != prefix {
			continue
		}
		var tensor struct {
			Shape   []int `json:"shape"`
			Offsets []int `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &tensor); err != nil {
			t.Fatal(err)
		}
		rows = tensor.Shape[0]
		size := (tensor.Offsets[1] - tensor.Offsets[0]) / rows
		at := start + tensor.Offsets[0]
		copy(data[at+to*size:at+(to+1)*size], data[at+from*size:at+(from+1)*size])
	}
	if rows == 0 {
		t.Fatalf("%s has no %s", file, prefix)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return rows
}
