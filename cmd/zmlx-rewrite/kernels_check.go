package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/kernelcheck"
)

// checked kernels of one target, as JSON.
type kernelChecked struct {
	Kernel     string   `json:"kernel" jsonschema:"name"`
	Hash       string   `json:"hash" jsonschema:"of all that a compiled kernel depends on"`
	On         string   `json:"on" jsonschema:"source: emulated threads; else the device"`
	Cases      int      `json:"cases" jsonschema:"calls that were made"`
	Runs       int      `json:"runs" jsonschema:"of the kernel in all"`
	Choices    int      `json:"choices" jsonschema:"combinations of element types, absent inputs and attributes"`
	Covered    int      `json:"covered" jsonschema:"of those, how many had a case"`
	Seconds    float64  `json:"seconds" jsonschema:"that it took"`
	Verdict    string   `json:"verdict" jsonschema:"passed, failed, skipped, or not checked on what this machine lacks a tool for"`
	Reason     string   `json:"reason,omitempty" jsonschema:"of the verdict"`
	Error      float64  `json:"error,omitempty" jsonschema:"of a reordered kernel on a device: root mean square against float32, in units of the largest element of the row"`
	StockError float64  `json:"stock_error,omitempty" jsonschema:"the same of the ops of MLX"`
	Generated  bool     `json:"generated,omitempty" jsonschema:"the source is made of the reference"`
	Types      int      `json:"metal_units,omitempty" jsonschema:"checked as Metal"`
	CUDA       int      `json:"cuda_units,omitempty" jsonschema:"compiled for NVIDIA"`
	Refused    int      `json:"stock_refused,omitempty" jsonschema:"cases whose reference graph MLX does not run there"`
	Untried    []string `json:"untried,omitempty" jsonschema:"dimensions that are tried at length 1 only"`
	Without    string   `json:"without,omitempty" jsonschema:"targets that were left out, as --without allows"`
}

type kernelCheckOptions struct {
	cases   int
	types   int
	cuda    int
	device  bool
	certify string
	format  string
	without []string // what may be left out
}

func (a *app) kernelsCheckCmd(o *options) *cobra.Command {
	var k kernelCheckOptions
	c := &cobra.Command{
		Use:   "check [KERNEL...]",
		Short: "Check kernels' sources against their reference graphs",
		Long: "Check reads each kernel's source as Metal, with address spaces enforced, compiles it for NVIDIA\n" +
			"GPUs, and runs it on the CPU, with its threads, simdgroups and barriers emulated and watched, on\n" +
			"many calls of its domain, and compares the results with its reference graph.\n" +
			"What this machine lacks the tools for is not checked, and not called passed, unless --without names it.\n" +
			"With --device it runs the kernel on the engine's own device instead, as a model would.",
		RunE: func(c *cobra.Command, args []string) error { return a.kernelsCheck(c.Context(), o, &k, args) },
	}
	c.Flags().IntVar(&k.cases, "cases", 60, "calls to make of each kernel")
	c.Flags().IntVar(&k.types, "types", 0, "at most so many sets of element types; 0 is all")
	c.Flags().IntVar(&k.cuda, "cuda-types", 4, "sets of element types to compile for NVIDIA; 0 is all")
	c.Flags().StringVar(&k.certify, "certify", "", "`file` of certificates: check only kernels that it has none for, and write it")
	c.Flags().BoolVar(&k.device, "device", false, "run on the engine's device, through its own launching")
	c.Flags().StringSliceVar(&k.without, "without", nil, "`targets`, metal or cuda, that may be left out where the tools for them are not there")
	c.Flags().StringVarP(&k.format, "output", "o", "text", "text or json (one object a line)")
	return c
}

func (a *app) kernelsCheck(ctx context.Context, o *options, k *kernelCheckOptions, names []string) error {
	if err := oneOf("output", k.format, "text", "json"); err != nil {
		return err
	}
	if k.cases < 1 {
		return diag.Errorf("usage/kernels", diag.Pos{}, "check needs --cases of at least 1").WithHint("leave --cases out for as many as certificates take")
	}
	for _, target := range k.without {
		if target != "metal" && target != "cuda" {
			return diag.Errorf("usage/kernels", diag.Pos{}, "--without %s: only metal and cuda can be left out", target).WithHint("--without metal, --without cuda, or --without metal,cuda")
		}
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	list, err := kernelsNamed(w.set.Kernels, names)
	if err != nil {
		return err
	}
	check := kernelcheck.Options{Cases: k.cases, Types: k.types, Dir: programFolder()}
	if err := os.MkdirAll(check.Dir, 0o777); err != nil {
		return err
	}
	var e engine.Engine
	on := "source"
	if k.device {
		if e, err = newEngine(w.set.Kernels, a.log); err != nil {
			return lacks("%v", err)
		}
		defer e.Close()
		on = e.Device()
	}
	certificates, checker := kernelcheck.Certificates{}, kernelcheck.CheckerHash()
	if k.certify != "" {
		if certificates, err = kernelcheck.ReadCertificates(k.certify); err != nil {
			return err
		}
	}
	failed, partly, missing := 0, 0, map[string]bool{}
	todo := slices.DeleteFunc(slices.Clone(list), func(s *kernels.Spec) bool {
		return k.certify != "" && (s.Code == nil || certificates.Current(s, checker))
	})
	var cut *exitError
	line, begun := a.statusLine(), time.Now()
	defer line.clear()
	for i, s := range todo {
		line.last = time.Time{} // each is shown, whenever the one before began
		line.progress(begun, int64(i), int64(len(todo)), "%s, %d of %d kernels", s.Name, i+1, len(todo))
		out := kernelChecked{Kernel: s.Name, Hash: s.ContentHash, On: on, Verdict: "passed", Generated: s.Generated, Untried: s.Untried()}
		start := time.Now()
		var r *kernelcheck.Report
		switch {
		case k.device:
			r, err = kernelcheck.RunOn(ctx, e, s, check)
		case s.Code == nil:
			err = noSource(s)
		default:
			r, err = kernelcheck.Full(ctx, s, check, k.cuda)
			if err == nil && r.Failure == nil && len(s.Gradient) > 0 {
				if wrong := kernelcheck.CheckGradient(s, s.Gradient); wrong != nil {
					r.Failure = &kernelcheck.Failure{Reason: wrong.Error()}
				}
			}
		}
		out.Seconds = time.Since(start).Seconds()
		line.clear()
		if ctx.Err() != nil {
			cut = &exitError{130, fmt.Sprintf("interrupted at %s; the kernels before it are printed", s.Name)}
			if k.certify != "" {
				cut.msg += ", and the certificates of those that passed are in " + k.certify + ": the same command goes on from there"
			}
			break
		}
		switch {
		case err != nil:
			out.Verdict, out.Reason = "skipped", err.Error()
			if len(names) > 0 {
				failed++
			}
		default:
			out.Cases, out.Runs, out.Error, out.StockError = r.Cases, r.Runs, r.KernelError.RMS(), r.StockError.RMS()
			out.Choices, out.Covered = r.Choices, r.Covered
			out.Refused, out.Types, out.CUDA = r.StockRefused, r.Types, r.CUDA
			for _, m := range r.Missing {
				if !missing[m.Error()] {
					missing[m.Error()] = true
					fmt.Fprintf(a.progress, "not checked: %v\n", m)
				}
			}
			if r.Failure == nil && len(r.Missing) == 0 && !k.device {
				certificates[s.Name] = &kernelcheck.Certificate{Kernel: s.Name, Content: s.ContentHash, Checker: checker,
					Cases: r.Cases, Choices: r.Choices, Covered: r.Covered, Runs: r.Runs, Types: r.Types, CUDA: r.CUDA}
			}
			gone := leftOut(r)
			must := slices.DeleteFunc(slices.Clone(gone), func(target string) bool { return slices.Contains(k.without, target) })
			out.Without = strings.Join(gone, ", ")
			switch {
			case r.Failure != nil:
				out.Verdict, out.Reason = "failed", r.Failure.Error()
				failed++
			case len(must) > 0:
				out.Verdict = "not checked on " + strings.Join(must, ", ")
				partly++
			}
		}
		if err := a.printKernelCheck(&out, k.format); err != nil {
			return err
		}
	}
	if k.certify != "" {
		for name := range certificates { // of kernels that are gone, or have changed and failed
			if s := w.set.Kernels.Spec(name); s == nil || !certificates.Current(s, checker) {
				delete(certificates, name)
			}
		}
		if err := certificates.Write(k.certify); err != nil {
			return diag.Errorf("file/write", diag.Pos{File: k.certify}, "%v", err)
		}
	}
	if cut != nil {
		return cut
	}
	if failed > 0 {
		return isFalse("%d of %d kernels failed", failed, len(list))
	}
	if partly > 0 {
		return lacks("%d of %d kernels were not checked on all targets; scripts/setup-tools.sh of the project brings the tools, ZMLX_TOOLS says where they are; --without metal,cuda does without", partly, len(list))
	}
	return nil
}

// leftOut names the targets that a kernel was not checked on, since a tool is missing.
func leftOut(r *kernelcheck.Report) []string {
	gone := map[string]bool{}
	for _, m := range r.Missing {
		switch {
		case errors.Is(m, kernelcheck.ErrNoClang): // what comes behind it is not asked either
			gone["metal"], gone["cuda"] = true, r.CUDA == 0
		case errors.Is(m, kernelcheck.ErrNoNVRTC):
			gone["cuda"] = true
		default: // no compiler: for the program that calls NVRTC, or for the kernel
			gone["cuda"] = gone["cuda"] || r.CUDA == 0
			gone["cpu"] = r.Cases == 0
		}
	}
	var list []string
	for _, target := range []string{"metal", "cuda", "cpu"} {
		if gone[target] {
			list = append(list, target)
		}
	}
	return list
}

func (a *app) printKernelCheck(out *kernelChecked, format string) error {
	if format == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(out)
	}
	fmt.Fprintf(a.stdout, "%-8s %-28s %-7s %4d cases, %5d runs, %6.1f s", out.Verdict, out.Kernel, out.On, out.Cases, out.Runs, out.Seconds)
	if out.Covered < out.Choices {
		fmt.Fprintf(a.stdout, "; %d of %d combinations", out.Covered, out.Choices)
	}
	if out.Types+out.CUDA > 0 {
		fmt.Fprintf(a.stdout, "; Metal %d, CUDA %d units", out.Types, out.CUDA)
	}
	if out.StockError > 0 {
		fmt.Fprintf(a.stdout, "; error %.2e, MLX's ops %.2e", out.Error, out.StockError)
	}
	if out.Verdict == "passed" && out.Without != "" {
		fmt.Fprintf(a.stdout, "; without %s", out.Without)
	}
	if out.Generated {
		fmt.Fprint(a.stdout, "; generated")
	}
	fmt.Fprintln(a.stdout)
	if out.Reason != "" {
		fmt.Fprintf(a.stdout, "         %s\n", out.Reason)
	}
	if len(out.Untried) > 0 {
		fmt.Fprintf(a.stdout, "         lint [kernel/untried]: %s at length 1 only; name it under check.dims, or derive it\n", strings.Join(out.Untried, ", "))
	}
	return nil
}

// kernelsNamed returns these kernels, or all if none is named.
func kernelsNamed(c *kernels.Catalog, names []string) ([]*kernels.Spec, error) {
	if len(names) == 0 {
		return c.All(), nil
	}
	var list []*kernels.Spec
	for _, name := range names {
		s := c.Spec(name)
		if s == nil {
			return nil, noKernel(c, name)
		}
		list = append(list, s)
	}
	return list, nil
}

// programFolder is where compiled checking programs are kept: the user's cache.
func programFolder() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "zmlx-rewrite", "kernelcheck")
}
