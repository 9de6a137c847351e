package kernelcheck

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/kernels/compat"
)

//go:embed driver/driver.cpp
var driverSource string

// ErrNoCompiler says that there is no C++ compiler on this machine.
var ErrNoCompiler = fmt.Errorf("no C++ compiler: install g++ 12 or clang 15, or set CXX")

// Compiler returns the C++ compiler: CXX, c++, g++ or clang++.
func Compiler() (string, error) {
	for _, name := range []string{os.Getenv("CXX"), "c++", "g++", "clang++"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoCompiler
}

// compileError is what a compiler says of a source.
type compileError struct{ text string }

func (e *compileError) Error() string { return e.text }

// mistake is what a compiler's message of a mistake in a source looks like, or a linker's.
var mistake = regexp.MustCompile(`(?m)^.+:\d+(?::\d+)?: (?:fatal )?error: |undefined reference|[Uu]ndefined symbol`)

// command is exec.CommandContext that does not wait for the children of one that was killed.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// build compiles a kernel's source in checked form, with the program that runs it, and
// returns the program's path. The same text is compiled once.
//
// A compileError is the kernel's fault, any other the machine's.
func build(ctx context.Context, s *kernels.Spec, instances []kernels.Instance, dir string) (string, error) {
	cxx, err := Compiler()
	if err != nil {
		return "", err
	}
	unit, err := s.HostUnit(instances, true)
	if err != nil {
		return "", err
	}
	unit += fmt.Sprintf("\nextern \"C\" int zmlx_check_run(const zmlx_call *c) { return zmlx_k_%s::run(c); }\n"+
		"extern \"C\" const char *zmlx_error(void) { return zmlx::last_error().text; }\n", s.Name)
	h := sha256.New()
	for _, text := range []string{unit, driverSource, cxx} {
		fmt.Fprintf(h, "%d\n%s", len(text), text)
	}
	headers := []struct {
		fsys fs.FS
		dir  string
	}{{compat.FS, "compat"}, {kernels.NativeFiles(), "cpu"}}
	for _, x := range headers {
		if err := fs.WalkDir(x.fsys, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".h") {
				return err
			}
			data, err := fs.ReadFile(x.fsys, path)
			fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
			return err
		}); err != nil {
			return "", err
		}
	}
	work := filepath.Join(dir, s.Name+"-"+hex.EncodeToString(h.Sum(nil))[:16])
	program := filepath.Join(work, "check")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	for _, x := range headers {
		if err := copyTree(x.fsys, filepath.Join(work, x.dir)); err != nil {
			return "", err
		}
	}
	for name, text := range map[string]string{"unit.cpp": unit, "driver.cpp": driverSource} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o666); err != nil {
			return "", err
		}
	}
	temp := fmt.Sprintf("%s.%d.new", program, os.Getpid())
	defer os.Remove(temp)
	cmd := command(ctx, cxx, "-std=c++20", "-O1", "-g1", "-ffp-contract=off", "-pthread", "-Wall", "-Wno-unknown-pragmas",
		"-I"+filepath.Join(work, "compat"), "-I"+filepath.Join(work, "compat/lib"), "-I"+filepath.Join(work, "cpu"),
		filepath.Join(work, "unit.cpp"), filepath.Join(work, "driver.cpp"), "-o", temp)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case errors.As(err, &exit) && mistake.MatchString(out.String()) && !strings.Contains(out.String(), "No space left on device"):
			return "", &compileError{fmt.Sprintf("%s.metal does not compile as host C++:\n%s", s.Name, firstLines(out.String(), 12))}
		}
		return "", fmt.Errorf("%s does not run: %w\n%s", cxx, err, firstLines(out.String(), 12))
	}
	return program, os.Rename(temp, program)
}

func copyTree(fsys fs.FS, to string) error {
	return fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, path), 0o777)
		}
		data, err := fs.ReadFile(fsys, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), data, 0o666)
	})
}

func firstLines(text string, n int) string {
	lines := strings.SplitN(text, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

// options are how one run of a case is scheduled.
type options struct {
	order   int32 // 0 forward, 1 reverse, 2 shuffled by seed
	roundUp bool  // start whole groups, as CUDA does
	atEnd   bool  // operands end at a page's end, else begin at one
	workers int32
	seed    uint64
	fill    byte // what results hold before
}

// caseLimit is how long one run of a case may take; most take milliseconds.
const caseLimit = 30 * time.Second

// machineError is what kept a check from running.
type machineError struct{ error }

func (e *machineError) Unwrap() error { return e.error }

// process is the running program.
type process struct {
	ctx    context.Context
	limit  time.Duration // of one run; 0 is caseLimit
	late   atomic.Bool   // the limit has passed
	path   string
	cmd    *exec.Cmd
	in     *bufio.Writer
	out    *bufio.Reader
	stderr *bytes.Buffer
	pipe   io.Closer
}

func (p *process) start() error {
	cmd := command(p.ctx, p.path)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.stderr = &bytes.Buffer{}
	cmd.Stderr = p.stderr
	p.in, p.out, p.pipe = bufio.NewWriterSize(in, 1<<16), bufio.NewReaderSize(out, 1<<16), in
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	p.late.Store(false)
	return nil
}

func (p *process) stop() {
	if p.cmd != nil {
		p.pipe.Close()
		p.cmd.Wait()
		p.cmd = nil
	}
}

// run sends a case and returns its results. An error is the kernel's fault, but for a
// machineError.
func (p *process) run(c *Case, o options) ([][]byte, error) {
	if p.cmd == nil {
		if err := p.start(); err != nil {
			return nil, &machineError{fmt.Errorf("the checking process does not start: %w", err)}
		}
	}
	limit := p.limit
	if limit == 0 {
		limit = caseLimit
	}
	child := p.cmd.Process
	timer := time.AfterFunc(limit, func() {
		p.late.Store(true)
		child.Kill()
	})
	defer timer.Stop()
	g, err := c.Spec.Geometry(c.Ints)
	if err != nil {
		return nil, err
	}
	w := p.in
	num := func(v any) { binary.Write(w, binary.LittleEndian, v) }
	flag := func(b bool) int32 {
		if b {
			return 1
		}
		return 0
	}
	num([]int32{o.order, flag(o.roundUp), flag(o.atEnd), o.workers})
	num(o.seed)
	num(uint32(len(c.Ints)))
	num(c.Ints)
	num(uint32(len(c.Floats)))
	num(c.Floats)
	types := c.types()
	num(uint32(len(types)))
	num(types)
	num(uint32(6))
	num(g.Grid)
	num(g.Group)
	num(uint32(len(c.Data)))
	num(uint32(len(c.Results)))
	for i, data := range c.Data {
		if c.Inputs[i].DType == graph.NoDType {
			num(int64(-1))
			num(int32(-1))
			continue
		}
		num(int64(len(data)))
		num(int32(c.Alias[i]))
		if c.Alias[i] < 0 {
			w.Write(data)
		}
	}
	num(o.fill)
	sizes := make([]int, len(c.Results))
	for i, t := range c.Results {
		n, _ := t.Size().Const()
		sizes[i] = int(n) * t.DType.Size()
		num(int64(sizes[i]))
	}
	if err := w.Flush(); err != nil {
		return nil, p.died()
	}
	var rc int32
	var length uint32
	if binary.Read(p.out, binary.LittleEndian, &rc) != nil || binary.Read(p.out, binary.LittleEndian, &length) != nil {
		return nil, p.died()
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(p.out, text); err != nil {
		return nil, p.died()
	}
	if rc != 0 {
		return nil, fmt.Errorf("%s", text)
	}
	out := make([][]byte, len(sizes))
	for i, n := range sizes {
		out[i] = make([]byte, n)
		if _, err := io.ReadFull(p.out, out[i]); err != nil {
			return nil, p.died()
		}
	}
	return out, nil
}

// noMemory is what the program ends with where it has none (driver.cpp).
const noMemory = 3

// killed reports whether somebody ended a process: the system does where memory is short.
func killed(e *exec.ExitError) bool {
	w, ok := e.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && (w.Signal() == syscall.SIGKILL || w.Signal() == syscall.SIGTERM || w.Signal() == syscall.SIGINT)
}

// died says how the process ended, and lets the next run start another.
func (p *process) died() error {
	p.pipe.Close()
	err := p.cmd.Wait()
	p.cmd = nil
	var exit *exec.ExitError
	switch {
	case p.ctx.Err() != nil:
		return &machineError{p.ctx.Err()}
	case p.late.Load():
		return fmt.Errorf("it runs without end: there was no result in time")
	case errors.As(err, &exit) && (exit.ExitCode() == noMemory || killed(exit)):
		return &machineError{fmt.Errorf("the checking process ended: %v\n%s", err, p.stderr)}
	}
	if text := strings.TrimSpace(p.stderr.String()); text != "" {
		return fmt.Errorf("%s", text)
	}
	return fmt.Errorf("the checking process ended: %v", err)
}
