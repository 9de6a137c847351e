package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/bench"
	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/stress"
	"zmlx-rewrite/report/figures"
)

// benchOptions are llama-bench's flags, where it has them.
type benchOptions struct {
	prompts, gens, depths []int
	rounds, warmUp        int
	seed                  uint64
	batch                 int  // sequences side by side
	rows                  bool // caches are filled with random rows
	format, capsule       string
	trace                 bool
	traceSteps            int
	against               *string // flags of what takes the unrewritten program's place
}

func (a *app) benchCmd() *cobra.Command {
	var o options
	var b benchOptions
	var against string
	c := &cobra.Command{
		Use:   "bench",
		Short: "Time the rewritten model against the unrewritten one, in turns",
		Long: "Bench times prompts (pp) and generation (tg) of random tokens, greedy, behind --n-depth\n" +
			"tokens in the caches: the unrewritten and the rewritten program in rounds of A B B A in one\n" +
			"process. A row is one program in one test: mean and standard deviation of tokens a second, as\n" +
			"llama-bench prints them. The ratio is the median over rounds, with a 95 % interval by bootstrap.\n" +
			"pp counts the time to the first new token, as mlx-lm does; tg the time from the first new token\n" +
			"to the last. With --batch-size so many sequences, each with tokens of its own, are fed and continued\n" +
			"side by side, and tokens a second are those of all of them. `tokens` says whether both programs made the same ones in every run. Exit code 1:\n" +
			"they did not.\n" +
			"With --against FLAGS what those flags make takes the unrewritten program's place: another profile,\n" +
			"other rules, kernels, a cache, or another model's program, on the weights of --model. What FLAGS do\n" +
			"not name is as on the command line.",
		Example: "  zmlx-rewrite bench --model M --against '--exclude llama.qmv'          what one rule is worth\n" +
			"  zmlx-rewrite bench --model M --profile mine --against '--profile qwen3'  two profiles",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("against") {
				b.against = &against
			}
			return a.bench(c.Context(), &o, &b)
		},
	}
	o.flags(c)
	o.first = true
	o.dtypeFlag(c)
	o.kv.startFlag(c)
	f := c.Flags()
	f.IntSliceVarP(&b.prompts, "n-prompt", "p", []int{512}, "`tokens` of the prompt; 0 for no such test; a list with commas")
	f.IntSliceVarP(&b.gens, "n-gen", "n", []int{128}, "`tokens` to make; 0 for no such test; a list with commas")
	f.IntSliceVarP(&b.depths, "n-depth", "d", []int{0}, "`tokens` in the caches beforehand; a list with commas")
	f.IntVar(&b.batch, "batch-size", 1, "`sequences` side by side, as in mlx_lm.benchmark")
	f.BoolVar(&b.rows, "random-rows", false, "fill the caches to --n-depth with random rows, not by reading tokens: a step takes as long, and long prompts take minutes")
	f.IntVarP(&b.rounds, "repetitions", "r", 5, "`rounds` of A B B A that count")
	f.IntVar(&b.warmUp, "warm-up", 1, "`rounds` before them that do not")
	f.Uint64Var(&b.seed, "seed", 1, "of the random tokens")
	f.StringVarP(&b.format, "output", "o", "md", "md, csv or json (one row a line)")
	f.StringVar(&against, "against", "", "compare with the program that these `flags` make, in place of the unrewritten one")
	f.StringVar(&b.capsule, "capsule", "", "`file` to write the capsule to: all that is needed to judge and repeat the measurement")
	f.BoolVar(&b.trace, "trace", false, "say where the time of a decode step goes, before and after the rewrite, in place of timing it whole")
	f.IntVar(&b.traceSteps, "trace-steps", 5, "`steps` to trace; of each op the median counts")
	return c
}

func (b *benchOptions) check() error {
	if err := oneOf("output", b.format, "md", "csv", "json"); err != nil {
		return err
	}
	bad := func(format string, args ...any) error {
		return diag.Errorf("usage/bench", diag.Pos{}, format, args...).WithHint("such as -p 512 -n 128 -d 0 -r 5, which it is if left out; -p 0 or -n 0 leaves these tests out")
	}
	if b.batch < 1 || b.batch > capsule.MaxBatch {
		return bad("%d sequences side by side are not 1 to %d", b.batch, capsule.MaxBatch)
	}
	for _, n := range slices.Concat(b.prompts, b.gens, b.depths) {
		if most := 1 << 20 / b.batch; n < 0 || n > most {
			return bad("%d tokens are not 0 to %d", n, most)
		}
	}
	if len(b.cells()) == 0 || b.rounds < 1 || b.warmUp < 0 || b.traceSteps < 1 {
		return bad("bench needs tokens to feed (-p) or to make (-n), a depth, and --repetitions of at least 1")
	}
	switch {
	case b.batch > 1 && b.trace:
		return diag.Errorf("usage/bench", diag.Pos{}, "a step of several sequences is timed, not traced").WithHint("leave --batch-size or --trace out")
	case b.rows && b.trace:
		return diag.Errorf("usage/bench", diag.Pos{}, "--trace reads tokens to fill the caches").WithHint("leave --random-rows or --trace out")
	}
	return nil
}

// cells are the tests, in llama-bench's order.
func (b *benchOptions) cells() []capsule.Cell {
	var out []capsule.Cell
	batch := b.batch
	if batch == 1 {
		batch = 0 // as in capsules of versions that knew no other
	}
	cell := func(test string, depth, fed, made, counted int) {
		out = append(out, capsule.Cell{Test: test, Batch: batch, Depth: depth, Rows: b.rows && depth > 0, Fed: fed, Made: made, Counted: counted * b.batch, Seed: b.seed, Runs: []capsule.Run{}, First: -1})
	}
	for _, d := range b.depths {
		for _, n := range b.prompts {
			if n > 0 {
				cell(fmt.Sprintf("pp%d", n), d, n, 1, n)
			}
		}
		for _, n := range b.gens {
			if n > 0 {
				cell(fmt.Sprintf("tg%d", n), d, 1, n+1, n)
			}
		}
	}
	return out
}

func (a *app) bench(ctx context.Context, o *options, b *benchOptions) error {
	if err := b.check(); err != nil {
		return err
	}
	if o.model == "" {
		return needsModel("bench")
	}
	if o.batch = b.batch; o.batch > 1 && o.kv.Bits > 0 {
		return diag.Errorf("usage/kv", diag.Pos{}, "a quantized cache is timed with one sequence").WithHint("leave --batch-size or --kv-bits out")
	}
	names := strings.Split(o.profile, ",")
	if len(names) > 1 && b.capsule != "" {
		return diag.Errorf("usage/bench", diag.Pos{}, "--capsule is of one profile, and %d are given", len(names)).WithHint("give one --profile, or leave --capsule out")
	}
	if b.trace {
		return a.trace(ctx, o, b, names)
	}
	var rows []figures.Row
	var differ []string
	cut, kept := false, ""
	for _, name := range names {
		one := *o
		one.profile = name
		c, err := a.benchOne(ctx, &one, b)
		if cut = ctx.Err() != nil && err != nil; cut && c == nil {
			break
		}
		if err != nil && !cut {
			return err
		}
		if b.capsule != "" {
			if kept, err = a.keep(b.capsule, cut, func() error { return c.Write(b.capsule) }); err != nil {
				return err
			}
		}
		rows = append(rows, figures.Rows("", c)...)
		for i := range c.Cells {
			if !c.Cells[i].Identical() {
				differ = append(differ, c.Rewrite.Profile+" "+c.Cells[i].Name())
			}
		}
		for _, n := range c.Notes {
			fmt.Fprintln(a.progress, "note: "+n)
		}
		if cut {
			break
		}
	}
	if cut && len(rows) == 0 {
		return &exitError{130, "interrupted; no test has a whole round yet, so there is nothing to print or keep"}
	}
	if err := a.rows(b.format, rows, nil); err != nil {
		return err
	}
	if cut {
		return &exitError{130, "interrupted; " + kept + "what is printed has the whole rounds that were measured"}
	}
	if len(differ) > 0 {
		what := "after the rewrite"
		if b.against != nil {
			what = "than with " + strconv.Quote("--against "+*b.against)
		}
		return isFalse("other tokens %s: %s\n\t%s", what, strings.Join(differ, ", "), whoDiffers)
	}
	return nil
}

// rows prints rows in a format, and as JSON means behind them.
func (a *app) rows(format string, rows []figures.Row, means []figures.MeanRow) error {
	switch format {
	case "csv":
		return figures.CSV(a.stdout, rows, means)
	case "json":
		if err := figures.JSON(a.stdout, rows); err != nil {
			return err
		}
		return figures.JSON(a.stdout, means)
	}
	figures.Markdown(a.stdout, rows)
	return nil
}

// benched loads what is to be compared.
func (a *app) benched(ctx context.Context, o *options, b *benchOptions, wrap func(int, engine.Session) engine.Session) (*pair, error) {
	if b.against == nil {
		return a.pair(ctx, o, wrap)
	}
	other, err := o.against(*b.against)
	if err != nil {
		return nil, err
	}
	return a.pairAgainst(ctx, o, other, wrap)
}

// keep writes what a measurement has to a file. One that was interrupted takes no other's place;
// then it is said what became of it.
func (a *app) keep(file string, cut bool, write func() error) (kept string, err error) {
	if _, err := os.Stat(file); cut && err == nil {
		return file + ", which was there before, is left as it is; ", nil
	}
	if err := write(); err != nil || !cut {
		return "", err
	}
	return file + " has what was measured, and says so; ", nil
}

// benchOne measures one profile. If it is interrupted, what it returns beside the error has the
// rounds that were whole; nil if there were none.
func (a *app) benchOne(ctx context.Context, o *options, b *benchOptions) (*capsule.Capsule, error) {
	p, err := a.benched(ctx, o, b, nil)
	if err != nil {
		return nil, err
	}
	defer p.close()
	c, err := a.newCapsule(capsule.Bench, p)
	if err != nil {
		return nil, err
	}
	if b.capsule != "" {
		if err := a.identify(ctx, p, c); err != nil {
			return nil, err
		}
	}
	c.WarmUp = b.warmUp
	cells := b.cells()
	line := a.statusLine()
	defer line.clear()
	start, runs := time.Now(), 4*(b.rounds+b.warmUp)
	for i := range cells {
		cell := &cells[i]
		begun := 0
		if err := p.measureCell(ctx, cell, bench.Options{Rounds: b.rounds, WarmUp: b.warmUp}, start, func() {
			line.print("%s %s · %s · %d of %d tests, run %d of %d", bar(int64(i*runs+begun), int64(len(cells)*runs)), p.profile.Name, cell.Name(), i+1, len(cells), begun+1, runs)
			begun++
		}); err != nil && ctx.Err() != nil {
			return cutShort(c, cells, b.rounds), err
		} else if err != nil {
			return nil, err
		}
	}
	c.Cells = cells
	finishCapsule(c)
	return c, nil
}

// cutShort makes a capsule of the whole rounds of an interrupted measurement; nil if there are
// none.
func cutShort(c *capsule.Capsule, cells []capsule.Cell, rounds int) *capsule.Capsule {
	const perRound = 4 // A B B A
	var said []string
	for _, cell := range cells {
		whole := len(cell.Runs) / perRound
		said = append(said, fmt.Sprintf("%s %d of %d rounds", cell.Name(), whole, rounds))
		if cell.Runs = cell.Runs[:whole*perRound]; whole > 0 {
			c.Cells = append(c.Cells, cell)
		}
	}
	if len(c.Cells) == 0 {
		return nil
	}
	c.Interrupted = true
	finishCapsule(c)
	c.Notes = append(c.Notes, "interrupted: "+strings.Join(said, ", "))
	return c
}

// measureCell times one test. An error leaves in it what was measured.
func (p *pair) measureCell(ctx context.Context, cell *capsule.Cell, o bench.Options, start time.Time, tick func()) error {
	tokens := randomTokensOf(cell, p.vocab)
	var first, last [2]*timed
	way := func(side int) func() (float64, error) {
		return func() (float64, error) {
			tick()
			t, err := p.runFor(ctx, cell, side, tokens)
			if err != nil {
				return 0, fmt.Errorf("%s, %s: %w", cell.Name(), p.side(side), err)
			}
			if last[side] = t; first[side] == nil {
				first[side] = t
			}
			return t.seconds, nil
		}
	}
	err := bench.Turns(ctx, o, way(0), way(1), func(round int, b bool, seconds float64) error {
		t := last[0]
		if b {
			t = last[1]
		}
		cell.Runs = append(cell.Runs, capsule.Run{Run: bench.Run{Round: round, B: b, Seconds: seconds, At: time.Since(start).Seconds()}, Prompt: t.prompt, Tokens: capsule.Stream(t.tokens)[:16]})
		return nil
	})
	if err != nil && (first[0] == nil || first[1] == nil) {
		return err
	}
	cell.StreamA, cell.StreamB = capsule.Stream(first[0].tokens), capsule.Stream(first[1].tokens)
	cell.First = stress.FirstDifference(first[0].tokens, first[1].tokens)
	return err
}
