package kernelcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/syntax"
	"zmlx-rewrite/kernels"
)

// Options are what a check is run with.
type Options struct {
	Cases int    // how many cases
	Dir   string // where compiled programs are kept
	// Types limits the sets of element types, so that less has to be compiled; 0 is all.
	Types int
}

// Report is what a check found.
type Report struct {
	Kernel  string
	Cases   int
	Runs    int
	Choices int     // combinations of element types, absent inputs and attributes that there are
	Covered int     // of those, how many had a case
	Types   int     // units checked as Metal
	CUDA    int     // units compiled for NVIDIA
	Missing []error // checks that this machine lacks a tool for
	Failure *Failure
	// Of a reordered kernel on a device: its error against float32, and that of MLX's own
	// ops on the same inputs.
	KernelError, StockError Error
	StockRefused            int // cases whose reference graph MLX does not run on the device
}

// Failure is the first case that failed.
type Failure struct {
	Case   *Case
	Reason string
}

func (f *Failure) Error() string {
	if f.Case == nil { // not of one call
		return f.Reason
	}
	return fmt.Sprintf("%s\n  at %s", f.Reason, f.Case)
}

// schedules are the ways in which each case is run. Their results must be equal in
// every bit.
var schedules = []options{
	{order: 0, atEnd: true, workers: 1, fill: 0xA5},
	{order: 1, roundUp: true, atEnd: false, workers: 1, fill: 0x5A},
	{order: 2, roundUp: true, atEnd: true, workers: 2, fill: 0xFF},
}

// Full checks a source as Metal, compiles it for NVIDIA, and runs it: all that is checked
// without a GPU. cuda bounds the sets of element types that are compiled for NVIDIA, which
// takes a second or two each; 0 is all.
func Full(ctx context.Context, s *kernels.Spec, o Options, cuda int) (*Report, error) {
	r := &Report{Kernel: s.Name}
	if s.Code == nil {
		return nil, fmt.Errorf("kernel %s has no source", s.Name)
	}
	var err error
	r.Types, err = Types(ctx, s)
	if err == nil {
		r.CUDA, err = CUDA(ctx, s, cuda)
		if errors.Is(err, ErrNoNVRTC) || errors.Is(err, ErrNoCompiler) {
			r.Missing, err = append(r.Missing, err), nil
		}
	} else if errors.Is(err, ErrNoClang) {
		r.Missing, err = append(r.Missing, err), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		var wrong diag.List
		if !errors.As(err, &wrong) { // not of the source: a tool does not run
			return nil, err
		}
		r.Failure = &Failure{Reason: err.Error()}
		return r, nil
	}
	ran, err := Run(ctx, s, o)
	if errors.Is(err, ErrNoCompiler) {
		r.Missing = append(r.Missing, err)
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.Choices, r.Covered = ran.Choices, ran.Covered
	r.Cases, r.Runs, r.Failure = ran.Cases, ran.Runs, ran.Failure
	return r, nil
}

// Run checks a kernel's source against its reference. The error is for what kept the
// check from running; what the kernel did wrong is in the report.
func Run(ctx context.Context, s *kernels.Spec, o Options) (*Report, error) {
	if s.Code == nil {
		return nil, fmt.Errorf("kernel %s has no source", s.Name)
	}
	if s.Trials == nil {
		return nil, fmt.Errorf("%s: kernel %s has no key check, which says how to make cases", s.Source, s.Name)
	}
	instances := limit(s, o.Types)
	cases, choices, err := plan(s, instances, o.Cases)
	if err != nil {
		return nil, err
	}
	r := &Report{Kernel: s.Name, Choices: choices}
	covered := map[int]bool{}
	off := drift{}
	program, err := build(ctx, s, instances, o.Dir)
	var wrong *compileError
	if errors.As(err, &wrong) {
		r.Failure = &Failure{cases[0], err.Error()}
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	p := &process{ctx: ctx, path: program}
	defer p.stop()
	for _, c := range cases {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.Cases++
		covered[c.choice] = true
		r.Covered = len(covered)
		truth, err := c.truth()
		if err != nil {
			return nil, fmt.Errorf("kernel %s: the reference does not run: %w\n  at %s", s.Name, err, c)
		}
		var first [][]byte
		for i, how := range schedules {
			how.seed = c.Seed
			got, err := p.run(c, how)
			r.Runs++
			var machine *machineError
			switch {
			case ctx.Err() != nil:
				return nil, ctx.Err()
			case errors.As(err, &machine):
				return nil, fmt.Errorf("kernel %s: %w\n  at %s", s.Name, err, c)
			case err != nil:
				r.Failure = &Failure{c, err.Error()}
			case i == 0:
				first = got
				if err := c.compare(truth, got); err != nil {
					r.Failure = &Failure{c, err.Error()}
				}
				off.add(c, truth, got)
			default:
				r.Failure = c.same(first, got)
			}
			if r.Failure != nil {
				return r, nil
			}
		}
	}
	if err := off.systematic(s); err != nil {
		r.Failure = &Failure{Reason: err.Error()}
	}
	return r, nil
}

// same compares two runs: results that differ depend on the order of threads, or were
// not written.
func (c *Case) same(a, b [][]byte) *Failure {
	for i := range a {
		if bytes.Equal(a[i], b[i]) {
			continue
		}
		n := c.Results[i].DType.Size()
		k := 0
		for bytes.Equal(a[i][k*n:(k+1)*n], b[i][k*n:(k+1)*n]) {
			k++
		}
		return &Failure{c, fmt.Sprintf("%s, element %d: two runs differ (bytes %x and %x): it is not written, or depends on the order of threads", c.Spec.Results[i], k, a[i][k*n:(k+1)*n], b[i][k*n:(k+1)*n])}
	}
	return nil
}

// limit takes a few sets of element types, or all of them; float32 alone comes first,
// since it is the sharpest: its bounds are the narrowest.
func limit(s *kernels.Spec, types int) []kernels.Instance {
	all := s.Instances()
	if types > 0 && len(all) > types {
		slices.SortStableFunc(all, func(a, b kernels.Instance) int { return width(a) - width(b) })
		all = append(all[:1:1], spread(all[1:], types-1)...)
	}
	return all
}

// spread takes n of the list, evenly.
func spread(list []kernels.Instance, n int) []kernels.Instance {
	var out []kernels.Instance
	for i := range n {
		out = append(out, list[i*len(list)/n])
	}
	return out
}

func width(in kernels.Instance) int {
	n := 0
	for _, t := range in.Types {
		if t == graph.Float16 || t == graph.BFloat16 {
			n++
		}
	}
	return n
}

// calls returns the names of all functions in an expression.
func calls(e syntax.Expr) []string {
	switch x := e.(type) {
	case *syntax.Call:
		list := []string{x.Fun}
		for _, a := range x.Args {
			list = append(list, calls(a.Value)...)
		}
		return list
	case *syntax.Unary:
		return calls(x.X)
	case *syntax.Binary:
		return append(calls(x.X), calls(x.Y)...)
	case *syntax.List:
		var list []string
		for _, i := range x.Items {
			list = append(list, calls(i)...)
		}
		return list
	}
	return nil
}
