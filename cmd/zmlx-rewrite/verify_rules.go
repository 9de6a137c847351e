package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/report"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/kernelcheck"
	"zmlx-rewrite/verify/proof"
)

// ruleProofs are the flags of verify that prove rules.
type ruleProofs struct {
	watch    bool
	out      string
	examples string
}

func (p *ruleProofs) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&p.watch, "watch", false, "of rules: look again when a file changes, until interrupted")
	f.StringVar(&p.out, "out", "", "of rules: `file` to write the output to; the table comes on the terminal all the same")
	f.StringVar(&p.examples, "counterexamples", "", "of rules: `folder` to write counterexamples to, shrunk, as scripts that --replay reads")
}

// verifyRules proves rules that are named, of files that are named, or all.
func (a *app) verifyRules(ctx context.Context, args []string, v *verifyOptions) error {
	if v.proofs.watch && (v.format != "text" || v.proofs.out != "") {
		return diag.Errorf("usage/watch", diag.Pos{}, "--watch prints tables only").WithHint("leave -o and --out out")
	}
	var names []string
	files := map[string]bool{} // whose rules are chosen
	for _, arg := range args {
		if strings.HasSuffix(arg, ".yaml") {
			v.rules = append(v.rules, arg)
			files[filepath.ToSlash(arg)] = true
		} else {
			names = append(names, arg)
		}
	}
	if len(args) == 0 {
		for _, path := range v.rules {
			files[filepath.ToSlash(path)] = true
		}
	}
	if os.Getenv("GOGC") == "" { // many graphs that live for a moment: collecting them less often is a third of the time
		defer debug.SetGCPercent(debug.SetGCPercent(collectAt))
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(collectAll))
	}
	p := &prover{a: a, v: v, names: names, files: files, known: map[string]*proof.Report{}, saved: map[*proof.Counterexample]string{}}
	if v.proofs.watch {
		return p.watch(ctx)
	}
	all, err := p.round(ctx)
	cut := err != nil && all != nil && len(all.Rules) > 0
	if err != nil && !cut {
		return err
	}
	if cut && v.proofs.out != "" { // a part takes no file's place
		all.Text(a.stdout)
	} else if err := a.writeProofs(all, v); err != nil {
		return err
	}
	if cut {
		return &exitError{130, fmt.Sprintf("interrupted; %d of %d rules were looked at, and are printed", len(all.Rules), p.chosen)}
	}
	if n := all.Failed(); n > 0 {
		return isFalse("%d of %d rules failed", n, len(all.Rules))
	}
	return nil
}

// While rules are proved, garbage may be so many percent of what lives, up to so many bytes
// in all.
const (
	collectAt  = 400
	collectAll = 1 << 30
)

func (a *app) writeProofs(all *report.Proofs, v *verifyOptions) error {
	var b bytes.Buffer
	var err error
	switch v.format {
	case "json":
		err = all.JSON(&b)
	case "html":
		err = all.HTML(&b)
	default:
		all.Text(&b)
	}
	if err != nil {
		return err
	}
	if v.proofs.out == "" {
		_, err := a.stdout.Write(b.Bytes())
		return err
	}
	if err := writeFile(v.proofs.out, b.Bytes()); err != nil {
		return err
	}
	all.Text(a.stdout)
	fmt.Fprintf(a.stdout, "wrote %s\n", v.proofs.out)
	return nil
}

// prover proves the chosen rules, and remembers those that have not changed since.
type prover struct {
	a      *app
	v      *verifyOptions
	names  []string
	files  map[string]bool
	small  []*proof.Model // of all families
	corpus *proof.Corpus
	known  map[string]*proof.Report // by the rule's content and that of its kernels
	saved  map[*proof.Counterexample]string
	chosen int // rules of the last round
}

// round reads all files and proves the rules that it has not proved yet. Beside the error of an
// interrupt it returns the rules that were proved until then.
func (p *prover) round(ctx context.Context) (*report.Proofs, error) {
	start := time.Now()
	w, err := p.a.workspace(&p.v.options)
	if err != nil {
		return nil, err
	}
	chosen, err := p.choose(w)
	if err != nil {
		return nil, err
	}
	if p.corpus == nil {
		if err := p.models(w); err != nil {
			return nil, err
		}
	}
	p.chosen = len(chosen)
	reports := make([]*proof.Report, len(chosen))
	var todo []int
	for i, r := range chosen {
		if reports[i] = p.known[contentOf(w.set, r)]; reports[i] == nil {
			todo = append(todo, i)
		}
	}
	certified, err := p.a.kernelOptions()
	if err != nil {
		return nil, err
	}
	var told sync.Mutex
	line, begun, done := p.a.statusLine(), time.Now(), 0
	tell := func(name string) {
		told.Lock()
		defer told.Unlock()
		line.progress(begun, int64(done), int64(len(todo)), "%d of %d rules, %s", done, len(todo), name)
		done++
	}
	inParallel(ctx, len(todo), func(k int) {
		i := todo[k]
		tell(chosen[i].Name)
		r, err := proof.Examine(ctx, &proof.Subject{Set: w.set, Rule: chosen[i], Corpus: p.corpus, Kernels: certified})
		if err == nil {
			reports[i] = r
			p.a.log.Debug("looked at", "rule", chosen[i].Name, "took", r.Took)
		}
	})
	line.clear()
	if err := ctx.Err(); err != nil {
		out := report.NewProofs(slices.DeleteFunc(reports, func(r *proof.Report) bool { return r == nil }), nil)
		out.Cut, out.Took = true, time.Since(start)
		return out, err
	}
	instances := map[string]*proof.Instances{}
	for i, r := range chosen {
		instances[r.Name] = reports[i].Instances
	}
	for _, i := range todo {
		p.known[contentOf(w.set, chosen[i])] = reports[i]
		if err := p.a.saveCounterexamples(ctx, w.set, reports[i], p.v.proofs.examples, p.saved); err != nil {
			return nil, err
		}
	}
	out := report.NewProofs(reports, p.saved)
	if len(p.names)+len(p.files) == 0 && p.v.profile != "all" {
		all := p.together(w)
		verdicts := make([][]*proof.Verdict, len(all))
		inParallel(ctx, len(all), func(i int) { verdicts[i] = proof.Between(ctx, w.set, all[i], instances) })
		for i, f := range all {
			out.AddTogether(f, verdicts[i])
		}
	}
	out.Took, out.Cut = time.Since(start), ctx.Err() != nil
	return out, ctx.Err()
}

// inParallel calls f for the numbers below n, on all cores, until the context ends.
func inParallel(ctx context.Context, n int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		if ctx.Err() == nil {
			next <- i
		}
	}
	close(next)
	wg.Wait()
}

// quickCases is how many cases a kernel without a certificate is checked by; kernels check
// has more.
const quickCases = 12

// kernelOptions takes certificates for kernels that have them, and checks the sources of
// others on this machine, briefly.
func (a *app) kernelOptions() (proof.KernelOptions, error) {
	list, err := kernelcheck.ShippedCertificates()
	if err != nil {
		return proof.KernelOptions{}, err
	}
	check := kernelcheck.Options{Cases: quickCases, Types: 1, Dir: programFolder()}
	return proof.KernelOptions{Certificates: list, Check: func(ctx context.Context, s *kernels.Spec) (*kernelcheck.Report, error) {
		if err := os.MkdirAll(check.Dir, 0o777); err != nil {
			return nil, err
		}
		return kernelcheck.Run(ctx, s, check)
	}}, nil
}

// contentOf is what the verdicts on a rule depend on, but for the rules beside it.
func contentOf(set *rules.Set, r *rules.Rule) string {
	key := r.Name + " " + r.Hash
	for _, k := range r.Kernels {
		if s := set.Kernels.Spec(k); s != nil {
			key += " " + s.ContentHash + s.Hash
		}
	}
	return key
}

// choose returns the rules to prove: those that are named or in the files that are, else
// those of the profile, or all.
func (p *prover) choose(w *workspace) (chosen []*rules.Rule, err error) {
	all := w.set.Rules()
	if p.v.profile != "" {
		prof, err := w.profile(p.v.profile, nil)
		if err != nil {
			return nil, err
		}
		all = prof.Choose(w.set, "all", p.v.target, nil).Rules
	}
	if len(p.names)+len(p.files) == 0 {
		return all, nil
	}
	for _, r := range all {
		inFile := p.files[r.File.Path] || p.files[filepath.ToSlash(filepath.Dir(r.File.Path))]
		if inFile || slices.ContainsFunc(p.names, func(n string) bool { return n == r.Name || n == r.Short() }) {
			chosen = append(chosen, r)
		}
	}
	for _, n := range p.names {
		if !slices.ContainsFunc(chosen, func(r *rules.Rule) bool { return n == r.Name || n == r.Short() }) {
			return nil, noRule(n, all)
		}
	}
	if len(chosen) == 0 {
		return nil, diag.Errorf("usage/rule", diag.Pos{}, "the files that are named hold no rules").WithHint("a file of rules ends with .yaml and lists them under `rules:`; zmlx-rewrite rules list shows those that are read")
	}
	return chosen, nil
}

// models builds the small models of all families, and reads one that was named.
func (p *prover) models(w *workspace) error {
	var err error
	if p.small, err = proof.Programs(); err != nil {
		return err
	}
	all := p.small
	if p.v.model != "" {
		s, err := p.a.load(p.v.model, w)
		if err != nil {
			return err
		}
		defer s.close()
		// First, so that instances are of that model where it has any.
		all = append([]*proof.Model{{Name: s.name, Program: s.program}}, all...)
	}
	p.corpus = proof.NewCorpus(all)
	return nil
}

// together returns the rules that are used together: those of each profile, on each target.
func (p *prover) together(w *workspace) []*proof.Together {
	var all []*proof.Together
	for _, prof := range w.profiles {
		if p.v.profile != "" && prof.Name != p.v.profile {
			continue
		}
		for _, target := range proof.Targets {
			choice := prof.Choose(w.set, "inference", target, nil)
			f := &proof.Together{Name: prof.Name + ", " + target, Target: target}
			f.Rules = slices.DeleteFunc(choice.Rules, func(r *rules.Rule) bool { return choice.Off[r.Name] != "" })
			for _, m := range p.small {
				if slices.Contains(prof.Models, m.Program.Name) {
					f.Models = append(f.Models, m)
				}
			}
			all = append(all, f)
		}
	}
	return all
}

// pollEvery is how often --watch looks at files.
const pollEvery = 150 * time.Millisecond

// watch proves whenever a file of rules or kernels has changed, until the context ends.
// What is wrong with a file is printed, and the next change waited for.
func (p *prover) watch(ctx context.Context) error {
	failed := 0
	for stamp := ""; ; {
		if now := p.stamp(); now != stamp {
			stamp = now
			fmt.Fprintf(p.a.stdout, "\n── %s\n", time.Now().Format(time.TimeOnly))
			all, err := p.round(ctx)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				failed = 1
				p.a.exit(err, ctx) // prints it
			default:
				failed = all.Failed()
				all.Text(p.a.stdout)
			}
		}
		select {
		case <-ctx.Done():
			if failed > 0 {
				return isFalse("")
			}
			return nil
		case <-time.After(pollEvery):
		}
	}
}

// stamp says when the files that are watched were changed last.
func (p *prover) stamp() string {
	home := p.v.home
	if home == "" {
		home = "."
	}
	var list []string
	see := func(dir string, ends ...string) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if info, err := e.Info(); err == nil && slices.Contains(ends, filepath.Ext(e.Name())) {
				list = append(list, fmt.Sprint(filepath.Join(dir, e.Name()), info.ModTime().UnixNano(), info.Size()))
			}
		}
	}
	see(filepath.Join(home, "rules"), ".yaml")
	see(filepath.Join(home, "profiles"), ".yaml")
	if p.v.home != "" {
		see(filepath.Join(home, "kernels"), ".yaml", ".metal", ".h")
	}
	for _, dir := range p.v.kernels {
		see(dir, ".yaml", ".metal", ".h")
	}
	for _, path := range p.v.rules {
		if isDir(path) {
			see(path, ".yaml")
		} else if info, err := os.Stat(path); err == nil {
			list = append(list, fmt.Sprint(path, info.ModTime().UnixNano(), info.Size()))
		}
	}
	return strings.Join(list, "\n")
}
