package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/verify/kernelcheck"
)

// kernelTimed is one kernel's time as JSON.
type kernelTimed struct {
	Kernel    string    `json:"kernel" jsonschema:"name"`
	Bench     string    `json:"bench" jsonschema:"which call"`
	Against   string    `json:"against,omitempty" jsonschema:"kernel that it was timed against, in place of the ops of MLX"`
	Device    string    `json:"device" jsonschema:"that was measured on"`
	Reference float64   `json:"reference_us" jsonschema:"microseconds of the ops of MLX, or of what it is against, median"`
	Time      float64   `json:"kernel_us" jsonschema:"microseconds of the kernel, median"`
	Speedup   float64   `json:"speedup" jsonschema:"median over rounds"`
	Interval  []float64 `json:"interval" jsonschema:"of the speed-up, 95 %"`
	GBs       float64   `json:"gb_per_s" jsonschema:"that the kernel reads and writes"`
	Fraction  float64   `json:"of_bandwidth" jsonschema:"share of what the device moves at best"`
	Bandwidth float64   `json:"bandwidth_gb_per_s" jsonschema:"of the device, measured beside"`
}

func (a *app) kernelsBenchCmd(o *options) *cobra.Command {
	var k kernelsBenchOptions
	c := &cobra.Command{
		Use:   "bench [KERNEL...]",
		Short: "Time kernels against the ops that they replace, on this device",
		Long: "Bench times each kernel on calls of real size, paired with its reference graph, in rounds of\n" +
			"reference, kernel, kernel, reference. The speed-up is the median over rounds, with a 95 %\n" +
			"interval. GB/s counts what a call has to read and write, beside what the device does at best.\n" +
			"With --against another kernel takes the place of the ops, and with --against-kernels one of another\n" +
			"folder, by the same name or that of --against: both are given the same operands.",
		Example: "  zmlx-rewrite kernels bench moe_combine --against moe_combine_exact      one kernel against another\n" +
			"  zmlx-rewrite kernels bench qmv --kernels mine --against-kernels theirs  two versions of one",
		RunE: func(c *cobra.Command, args []string) error { return a.kernelsBench(c.Context(), o, args, &k) },
	}
	c.Flags().IntVar(&k.rounds, "rounds", 10, "rounds that count")
	c.Flags().StringVar(&k.against, "against", "", "`kernel` to time against, in place of the ops of MLX")
	c.Flags().StringVar(&k.folder, "against-kernels", "", "`folder` of kernels to take that one from, over the built-in ones")
	c.Flags().BoolVar(&k.experts, "experts", false, "also time the expert layers of Qwen3-30B-A3B one behind the other (2 GB)")
	c.Flags().StringVarP(&k.format, "output", "o", "text", "text or json (one object a line)")
	return c
}

// kernelsBenchOptions are the flags of kernels bench.
type kernelsBenchOptions struct {
	rounds          int
	experts         bool
	against, folder string
	format          string
}

// rival finds what a kernel is timed against, in a catalog that may be another one; nil for the
// ops of MLX.
func (k *kernelsBenchOptions) rival(s *kernels.Spec, c *kernels.Catalog) (*kernels.Spec, error) {
	if k.against == "" && k.folder == "" {
		return nil, nil
	}
	name := cmp.Or(k.against, s.Name)
	other := c.Spec(name)
	if other == nil {
		return nil, noKernel(c, name)
	}
	if other == s || other.ContentHash == s.ContentHash {
		return nil, diag.Errorf("usage/kernels", diag.Pos{File: other.Source}, "%s is the same kernel on both sides", name).WithHint("name another one with --against, or a folder with another version of it with --against-kernels")
	}
	if err := kernelcheck.Rivals(s, other); err != nil {
		return nil, diag.Errorf("usage/kernels", diag.Pos{File: other.Source}, "cannot be timed on the same operands: %v", err).WithHint("kernels show says what a kernel takes; bench --against compares whole programs")
	}
	if len(s.Benches) == 0 {
		return nil, diag.Errorf("usage/kernels", diag.Pos{File: s.Source}, "%s has no call of real size to be timed in", s.Name).WithHint("give its spec a `bench:` (docs/KERNELS.md), or name first the kernel that has one")
	}
	return other, nil
}

func (a *app) kernelsBench(ctx context.Context, o *options, names []string, k *kernelsBenchOptions) error {
	rounds, format := k.rounds, k.format
	if err := oneOf("output", format, "text", "json"); err != nil {
		return err
	}
	if rounds < 2 {
		return diag.Errorf("usage/kernels", diag.Pos{}, "bench needs --rounds of at least 2").WithHint("such as --rounds 10, which it is if left out")
	}
	w, err := a.workspace(o)
	if err != nil {
		return err
	}
	list, err := kernelsNamed(w.set.Kernels, names)
	if err != nil {
		return err
	}
	theirs := w.set.Kernels
	if k.folder != "" {
		one := *o
		one.kernels = []string{k.folder}
		x, err := a.workspace(&one)
		if err != nil {
			return err
		}
		theirs = x.set.Kernels
	}
	if k.against != "" && len(names) == 0 {
		return diag.Errorf("usage/kernels", diag.Pos{}, "--against needs a kernel to compare with it").WithHint("such as kernels bench moe_combine --against moe_combine_exact")
	}
	rivals := map[*kernels.Spec]*kernels.Spec{}
	for _, s := range list {
		if rivals[s], err = k.rival(s, theirs); err != nil {
			return err
		}
	}
	e, err := newEngine(w.set.Kernels.With(theirs), a.log)
	if err != nil {
		return lacks("%v", err)
	}
	defer e.Close()
	runner, ok := e.(engine.KernelRunner)
	if !ok {
		return lacks("the %s engine launches no kernels: build with MLX (make build)", e.Name())
	}
	size, footprint := 64<<20, 64e6
	if e.Device() != "cpu" {
		size, footprint = 1<<30, 1.5e9
	}
	width, err := kernelcheck.Bandwidth(ctx, e, size)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	if format == "text" {
		fmt.Fprintf(a.stdout, "%s %s on %s, which moves %.1f GB/s\n", e.Name(), e.Version(), e.Device(), width/1e9)
		head := "MLX ops"
		if k.against != "" || k.folder != "" {
			head = "against"
		}
		fmt.Fprintln(tw, "kernel\tcall\t"+head+" µs\tkernel µs\tspeed-up\t95 %\tGB/s\tof bandwidth\t")
	}
	line, begun, calls, at := a.statusLine(), time.Now(), 0, 0
	defer line.clear()
	for _, s := range list {
		calls += len(s.Benches)
	}
	if k.experts {
		calls++
	}
	// timing are the options for the call that is next.
	timing := func(kernel, call string) bench.Options {
		at++
		of := at
		line.last = time.Time{}
		return bench.Options{Rounds: rounds, OnRound: func(done, all int) {
			line.progress(begun, int64((of-1)*all+done), int64(calls*all), "%s, %s, %d of %d calls, round %d of %d", kernel, call, of, calls, done+1, all)
		}}
	}
	print := func(t *kernelcheck.Timing) error {
		line.clear()
		reference, kernel := t.Seconds()
		out := kernelTimed{t.Kernel, t.Bench, t.Against, e.Device(), reference * 1e6, kernel * 1e6, t.Ratio, []float64{t.Low, t.High}, t.Bytes / kernel / 1e9, t.Bytes / kernel / width, width / 1e9}
		if format == "json" {
			return json.NewEncoder(a.stdout).Encode(out)
		}
		_, err := fmt.Fprintf(tw, "%s\t%s\t%.1f\t%.1f\t%.2f\t[%.2f, %.2f]\t%.0f\t%.0f %%\t\n", out.Kernel, out.Bench, out.Reference, out.Time, out.Speedup, t.Low, t.High, out.GBs, 100*out.Fraction)
		return err
	}
	for _, s := range list {
		if why := runner.RunsKernel(s); why != nil {
			line.clear()
			at += len(s.Benches)
			fmt.Fprintf(a.progress, "%s: %v\n", s.Name, why)
			continue
		}
		if other := rivals[s]; other != nil {
			if why := runner.RunsKernel(other); why != nil {
				return lacks("%s, that %s is to be timed against: %v", other.Name, s.Name, why)
			}
		}
		for _, b := range s.Benches {
			t, err := kernelcheck.TimeAgainst(ctx, e, s, rivals[s], b, footprint, timing(s.Name, b.Name))
			line.clear()
			if err != nil && ctx.Err() != nil {
				if err := tw.Flush(); err != nil {
					return err
				}
				return &exitError{130, fmt.Sprintf("interrupted at %s, %s; the calls before it are printed", s.Name, b.Name)}
			}
			if refused := (*kernelcheck.StockRefused)(nil); errors.As(err, &refused) {
				fmt.Fprintf(a.progress, "%s, %s: not timed, %v\n", s.Name, b.Name, refused)
				continue
			}
			if err != nil {
				return err
			}
			if err := print(t); err != nil {
				return err
			}
		}
	}
	if k.experts {
		t, err := kernelcheck.TimeExperts(ctx, e, w.set.Kernels, kernelcheck.Qwen3Experts, timing("experts", "of Qwen3-30B-A3B"))
		if err != nil {
			return err
		}
		if err := print(t); err != nil {
			return err
		}
	}
	return tw.Flush()
}
