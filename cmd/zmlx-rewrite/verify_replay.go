package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
	"zmlx-rewrite/engine/ref"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/rules"
	"zmlx-rewrite/verify/proof"
)

// Files of a counterexample, beside rules/ and kernels/.
const (
	callFile    = "call.json"
	patternFile = "pattern.zg"
)

// replayed is a counterexample run again on one engine, as JSON.
type replayed struct {
	Rule    string `json:"rule" jsonschema:"full name"`
	Check   string `json:"check" jsonschema:"that found the counterexample"`
	Where   string `json:"where" jsonschema:"it was found"`
	Engine  string `json:"engine" jsonschema:"that ran it"`
	Verdict string `json:"verdict" jsonschema:"after differs the exit code is 1"`
	Detail  string `json:"detail" jsonschema:"what differs, or how results were compared"`
}

// What may become of a counterexample.
const (
	replayEqual   = "equal"
	replayDiffers = "differs"
	notApplied    = "not applied"
)

// shrinkTime bounds how long one counterexample is made smaller.
const shrinkTime = 10 * time.Second

// saveCounterexamples makes the counterexamples of a rule smaller and writes each to a
// script in dir, if that is not "": files learns which. One that engine/ref does not show,
// since it is too small a difference for its numbers, is not written.
func (a *app) saveCounterexamples(ctx context.Context, set *rules.Set, r *proof.Report, dir string, files map[*proof.Counterexample]string) error {
	n := map[string]int{}
	for _, v := range r.Verdicts {
		if v.Counter == nil || v.Counter.Instance.Rule != r.Rule {
			continue
		}
		call, outcome := a.shrunk(ctx, set, v)
		if call == nil || dir == "" {
			continue
		}
		call.Check = v.Check
		name := strings.ReplaceAll(r.Rule.Name, ".", "-") + "-" + v.Check
		if n[v.Check]++; n[v.Check] > 1 {
			name += fmt.Sprint("-", n[v.Check])
		}
		text, err := counterexampleScript(set, r.Rule, v, call, outcome)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, name+".txtar")
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return diag.Errorf("file/write", diag.Pos{File: dir}, "%v", err)
		}
		if err := writeFile(file, text); err != nil {
			return err
		}
		files[v.Counter] = file
	}
	return ctx.Err()
}

// shrunk puts the smallest counterexample that it finds into the verdict, and returns it
// as a call; nil if engine/ref does not show the difference.
func (a *app) shrunk(ctx context.Context, set *rules.Set, v *proof.Verdict) (*proof.Call, *proof.Difference) {
	e := ref.New()
	replay := func(ctx context.Context, c *proof.Counterexample) (*proof.Call, *proof.Difference) {
		call := c.Call(set)
		out, err := call.Replay(ctx, e, set, c.Instance.Rule, nil)
		if err != nil || out.Differs == nil {
			return nil, nil
		}
		return call, out.Differs
	}
	if call, _ := replay(ctx, v.Counter); call == nil {
		for _, louder := range proof.Louder(v.Counter) {
			if call, _ = replay(ctx, louder); call != nil {
				v.Counter = louder
				break
			}
		}
	}
	if call, _ := replay(ctx, v.Counter); call == nil {
		v.Why = append(v.Why, "the difference is too small to be seen on engine/ref, so that the example cannot be replayed")
		return nil, nil
	}
	limited, stop := context.WithTimeout(ctx, shrinkTime)
	defer stop()
	small := proof.Shrink(limited, v.Counter, func(c *proof.Counterexample) bool {
		call, _ := replay(limited, c)
		return call != nil
	})
	call, d := replay(ctx, small)
	if call == nil {
		return nil, nil
	}
	small.Output, small.Index, small.Want, small.Got = d.Output, d.Index, d.Want, d.Got
	v.Counter = small
	return small.Call(set), d
}

// counterexampleScript writes a script that runs by itself, and that --replay reads.
func counterexampleScript(set *rules.Set, r *rules.Rule, v *proof.Verdict, call *proof.Call, d *proof.Difference) ([]byte, error) {
	var head strings.Builder
	fmt.Fprintf(&head, "# %s is wrong: %s [%s], found by `zmlx-rewrite verify`.\n", r.Name, v.Check, v.Code)
	fmt.Fprintf(&head, "# At %s.\n", call.Where)
	fmt.Fprintf(&head, "# Replay it with the rule as it is below:  zmlx-rewrite verify --replay FILE\n")
	fmt.Fprintf(&head, "# or with the rule as it is by now:        zmlx-rewrite verify --replay FILE --rules RULES.yaml\n")
	fmt.Fprintf(&head, "exits 1 zmlx-rewrite verify --replay .\n")
	fmt.Fprintf(&head, "stdout '^ref +differs +%s\\[%s\\] '\n", d.Output, strings.Trim(fmt.Sprint(d.Index), "[]"))
	ar := &txtar.Archive{Comment: []byte(head.String())}
	add := func(name string, data []byte) {
		if len(data) > 0 && data[len(data)-1] != '\n' {
			data = append(slices.Clip(data), '\n')
		}
		ar.Files = append(ar.Files, txtar.File{Name: name, Data: data})
	}
	for _, f := range set.Files {
		if f.Builtin && f != r.File {
			continue
		}
		text, err := f.Text()
		if err != nil {
			return nil, err
		}
		add("rules/"+path.Base(f.Path), text)
	}
	for _, s := range set.Kernels.All() {
		if strings.HasPrefix(s.Source, "builtin/") {
			continue
		}
		for _, end := range []string{".yaml", ".metal"} {
			text, err := os.ReadFile(strings.TrimSuffix(s.Source, ".yaml") + end)
			if errors.Is(err, fs.ErrNotExist) && end == ".metal" {
				continue
			}
			if err != nil {
				return nil, err
			}
			add("kernels/"+s.Name+end, text)
		}
	}
	data, err := json.Marshal(call)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", " "); err != nil {
		return nil, err
	}
	add(callFile, compactNumbers(b.Bytes()))
	add(patternFile, call.Program.Text())
	return txtar.Format(ar), nil
}

// compactNumbers puts the elements of lists on one line.
func compactNumbers(b []byte) []byte {
	var out bytes.Buffer
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '[':
			depth++
			out.WriteByte(c)
		case c == ']':
			depth--
			out.WriteByte(c)
		case depth > 0 && (c == '\n' || c == ' '):
		case depth > 0 && c == ',':
			out.WriteString(", ")
		default:
			out.WriteByte(c)
		}
	}
	return out.Bytes()
}

// maxExample bounds the file of a counterexample.
const maxExample = 64 << 20

// verifyReplay runs a counterexample again, on engine/ref and on the engine of this
// binary. It is false while the results differ.
func (a *app) verifyReplay(ctx context.Context, file string, v *verifyOptions) error {
	dir, err := os.MkdirTemp("", "zmlx-replay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ar, err := readExample(file)
	if err != nil {
		return err
	}
	o := options{home: dir, rules: v.rules, kernels: v.kernels, unproven: true}
	if v.home != "" { // as it is by now
		if !isDir(v.home) {
			return diag.Errorf("home/missing", diag.Pos{File: v.home}, "is not a folder").WithHint("--home names a folder that has rules/, profiles/ or kernels/ in it")
		}
		if rules := filepath.Join(v.home, "rules"); isDir(rules) {
			o.rules = append([]string{rules}, o.rules...)
		}
		if kernels := filepath.Join(v.home, "kernels"); isDir(kernels) {
			o.kernels = append([]string{kernels}, o.kernels...)
		}
	}
	if err := unpack(file, ar, dir, len(o.rules) == 0); err != nil {
		return err
	}
	w, err := a.workspace(&o)
	if err != nil {
		return err
	}
	text, err := readLimited(filepath.Join(dir, patternFile), maxText)
	if err != nil {
		return err
	}
	program, issues := graph.ParseText(filepath.Join(file, patternFile), text, w.set.Kernels.Op)
	if err := issues.Err(); err != nil {
		return err
	}
	data, err := readLimited(filepath.Join(dir, callFile), maxExample)
	if err != nil {
		return err
	}
	call, err := proof.ReadCall(data, program)
	if err != nil {
		return diag.Errorf("replay/call", diag.Pos{File: filepath.Join(file, callFile)}, "%v", err)
	}
	rule := w.set.Rule(call.Rule)
	if rule == nil {
		return diag.Errorf("usage/rule", diag.Pos{File: file}, "no rule %q is in the files", call.Rule).WithHint("--rules and --home say where it is now")
	}
	differs := false
	run := func(e engine.Engine) error {
		defer e.Close()
		keep := func(s *kernels.Spec) bool {
			k, ok := e.(engine.KernelRunner)
			return ok && k.RunsKernel(s) == nil
		}
		out, err := call.Replay(ctx, e, w.set, rule, keep)
		r := replayed{Rule: rule.Name, Check: call.Check, Where: call.Where, Engine: e.Name()}
		switch {
		case err != nil:
			return diag.Errorf("replay/run", diag.Pos{File: file}, "%s: %v", e.Name(), err)
		case !out.Applied:
			r.Verdict, r.Detail = notApplied, rule.Name+" does not apply to the call"
		case out.Differs == nil:
			r.Verdict, r.Detail = replayEqual, fmt.Sprint("by ", call.Compare)
		default:
			differs = true
			r.Verdict, r.Detail = replayDiffers, fmt.Sprint(out.Differs)
		}
		if v.format == "json" {
			return a.json(r)
		}
		_, err = fmt.Fprintf(a.stdout, "%-4s %-7s  %s\n", r.Engine, r.Verdict, r.Detail)
		return err
	}
	if v.format == "text" {
		fmt.Fprintf(a.stdout, "%s (%s), found by %s at %s\n", rule.Name, rule.File.Path[strings.LastIndexByte(rule.File.Path, '/')+1:], call.Check, call.Where)
	}
	if err := run(ref.New()); err != nil {
		return err
	}
	if strings.HasPrefix(engineName, "mlx") {
		e, err := newEngine(w.set.Kernels, a.log)
		if err != nil {
			return lacks("%v", err)
		}
		if err := run(e); err != nil {
			return err
		}
	}
	if differs {
		return isFalse("%s changes what is computed", rule.Name)
	}
	return nil
}

// readExample reads a counterexample's file, or the folder that a script unpacked one to.
func readExample(file string) (*txtar.Archive, error) {
	if !isDir(file) {
		data, err := readLimited(file, maxExample)
		if err != nil {
			return nil, err
		}
		return txtar.Parse(data), nil
	}
	ar := &txtar.Archive{}
	for _, pattern := range []string{callFile, patternFile, "rules/*.yaml", "kernels/*.yaml", "kernels/*.metal"} {
		found, _ := filepath.Glob(filepath.Join(file, filepath.FromSlash(pattern)))
		for _, f := range found {
			data, err := readLimited(f, maxExample)
			if err != nil {
				return nil, err
			}
			ar.Files = append(ar.Files, txtar.File{Name: path.Join(path.Dir(pattern), filepath.Base(f)), Data: data})
		}
	}
	return ar, nil
}

// unpack writes the files of a counterexample to a folder, those that are expected and no
// others; rules only if they are wanted.
func unpack(file string, ar *txtar.Archive, dir string, withRules bool) error {
	found := 0
	for _, f := range ar.Files {
		name := path.Clean(f.Name)
		folder, base := path.Split(name)
		switch {
		case name == callFile || name == patternFile:
			found++
		case folder == "rules/" && strings.HasSuffix(base, ".yaml") && withRules:
		case folder == "kernels/" && (strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".metal")):
		default:
			continue
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o777), os.WriteFile(to, f.Data, 0o666)); err != nil {
			return err
		}
	}
	if found < 2 {
		return diag.Errorf("replay/file", diag.Pos{File: file}, "is no counterexample: it lacks %s or %s", callFile, patternFile).WithHint("zmlx-rewrite verify --counterexamples FOLDER writes them")
	}
	return nil
}
