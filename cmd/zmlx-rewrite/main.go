// Command zmlx-rewrite rewrites MLX language models by rules, so that they decode
// faster and give the same tokens. Run it without arguments for its subcommands.
//
// Exit codes: 0 all that was asked is true; 1 it ran, and something asked for is
// false; 2 bad input or usage; 3 the machine lacks something.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// exitError carries an exit code. Its message, if any, goes to stderr.
type exitError struct {
	code int
	msg  string
}

func (e *exitError) Error() string { return e.msg }

// isFalse reports that the command ran and something asked for is false: exit 1.
func isFalse(format string, args ...any) error { return &exitError{1, fmt.Sprintf(format, args...)} }

// lacks reports that the machine lacks something: exit 3.
func lacks(format string, args ...any) error { return &exitError{3, fmt.Sprintf(format, args...)} }

// app is what every subcommand needs of the process.
type app struct {
	args           []string // as given
	stdin          io.Reader
	stdout, stderr io.Writer
	progress       io.Writer // stderr, or nothing with --quiet
	verbose, quiet bool
	log            *slog.Logger
}

// setUp follows --verbose and --quiet.
func (a *app) setUp() {
	if a.quiet {
		a.progress = io.Discard
	}
	if a.verbose {
		a.log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second interrupt ends the process at once. No file is half written then: they
	// are renamed into place.
	context.AfterFunc(ctx, stop)
	out := &checked{w: stdout}
	a := &app{args: args, stdin: stdin, stdout: out, stderr: stderr, progress: stderr, log: slog.New(slog.DiscardHandler)}
	root := a.root()
	root.SetArgs(joinVerbose(args))
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(stderr)
	c, err := root.ExecuteContextC(ctx)
	if err != nil {
		err = wrongLine(c, err)
	}
	if out.err != nil {
		err = diag.Errorf("file/write", diag.Pos{File: stdoutName}, "%v", out.err)
	}
	return a.exit(err, ctx)
}

// checked remembers the first error of a writer, so that what is printed line by
// line need not look at each: output that is cut short must not end with exit code 0.
type checked struct {
	w   io.Writer
	err error
}

func (c *checked) Write(data []byte) (int, error) {
	n, err := c.w.Write(data)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

func (a *app) exit(err error, ctx context.Context) int {
	if err == nil {
		return 0
	}
	var ee *exitError
	var list diag.List
	var issue *diag.Issue
	switch {
	case errors.As(err, &ee):
		if ee.msg != "" {
			fmt.Fprintln(a.stderr, ee.msg)
		}
		return ee.code
	case errors.As(err, &list):
		a.issues(list)
	case errors.As(err, &issue):
		a.issues(diag.List{issue})
	case ctx.Err() != nil:
		fmt.Fprintln(a.stderr, "interrupted; nothing was left half written")
		return 130
	default:
		fmt.Fprintln(a.stderr, err)
	}
	return 2
}

// issues prints issues with the source line and a caret where there is one.
func (a *app) issues(list diag.List) {
	for _, i := range list {
		i.Hint = whereToLook(i)
		fmt.Fprintln(a.stderr, i)
		if s := i.Snippet(); s != "" {
			fmt.Fprintln(a.stderr, s)
		}
	}
}

// group is a command that only holds others. Without one it prints its help; an
// unknown one is an error, which cobra alone would let pass.
func group(name, short string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "zmlx-rewrite",
		Short:         "Rewrite MLX language models by rules: faster decoding, the same tokens",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "say on standard error what is read and how long steps take")
	root.PersistentFlags().BoolVar(&a.quiet, "quiet", false, "no progress and no statistics on standard error")
	root.PersistentPreRun = func(*cobra.Command, []string) { a.setUp() }
	root.AddCommand(
		a.applyCmd(), a.explainCmd(), a.diffCmd(), a.lintCmd(), a.graphCmd(), a.rulesCmd(), a.profilesCmd(), a.modelsCmd(),
		a.kernelsCmd(), a.importCmd(), a.exportCmd(), a.bridgeCmd(), a.generateCmd(), a.chatCmd(), a.cachePromptCmd(), a.perplexityCmd(), a.validateCmd(), a.verifyCmd(), a.benchCmd(), a.smartCmd(), a.stressCmd(), a.reportCmd(), a.matrixCmd(), a.routingCmd(), a.testCmd(), a.doctorCmd(), a.versionCmd(),
	)
	helpful(root)
	return root
}
