package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands are all commands, by their path without the program's name; those that only hold
// others, too.
func commands(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	all := map[string]*cobra.Command{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all[strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "zmlx-rewrite"), " ")] = c
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{stdout: io.Discard, stderr: io.Discard}).root())
	if len(all) < 35 {
		t.Fatalf("%d commands", len(all))
	}
	return all
}

// refused runs a command line that is wrong and wants exit code 2, something on standard
// error that says what to do next, and nothing on standard output.
func refused(t *testing.T, wants string, args ...string) {
	t.Helper()
	var out, stderr bytes.Buffer
	code := run(args, strings.NewReader(""), &out, &stderr)
	text := stderr.String()
	hint := ""
	for line := range strings.Lines(text) {
		if h := strings.TrimSpace(line); strings.HasPrefix(line, "\t") && h != "^" {
			hint = h
		}
	}
	switch line := "zmlx-rewrite " + strings.Join(args, " "); {
	case code != 2:
		t.Errorf("%s: exit code %d\n%s", line, code, text)
	case hint == "":
		t.Errorf("%s: nothing says what to do next\n%s", line, text)
	case !strings.Contains(text, wants):
		t.Errorf("%s: %q is not said\n%s", line, wants, text)
	case out.Len() > 0:
		t.Errorf("%s: on standard output is\n%s", line, out.String())
	}
}

// base are arguments with which a command gets as far as to look at its flags' values.
var base = map[string][]string{
	"apply": {"--profile", "smollm2"}, "explain": {"--profile", "smollm2"}, "diff": {"--profile", "smollm2"}, "graph": {"--profile", "smollm2"},
	"verify": {"--model", "SmolLM2-135M-Instruct-Q4_1"}, "rules show": {"llama.swiglu"}, "rules new": {"mine", "--model", "SmolLM2-135M-Instruct-Q4_1"}, "kernels show": {"swiglu"},
	"kernels try": {"swiglu"}, "kernels check": {"swiglu"}, "kernels bench": {"swiglu"}, "kernels new": {"mine", "--elementwise", "x"},
	"export": {"no.zg"}, "import": {"no.mlxfn"}, "bridge": {"no.mlxfn"}, "report": {"no.json"}, "matrix": {"no"}, "matrix html": {"no"}, "matrix gate": {"no"},
	"generate": {"--model", "SmolLM2-135M-Instruct-Q4_1", "--prompt", "x"}, "chat": {"--model", "SmolLM2-135M-Instruct-Q4_1"},
	"cache-prompt": {"--model", "SmolLM2-135M-Instruct-Q4_1", "--prompt", "x", "--prompt-cache-file", "x"}, "perplexity": {"SmolLM2-135M-Instruct-Q4_1", "no.txt"},
	"validate": {"SmolLM2-135M-Instruct-Q4_1"}, "bench": {"--model", "SmolLM2-135M-Instruct-Q4_1"}, "smart": {"--model", "SmolLM2-135M-Instruct-Q4_1"},
	"stress": {"--model", "SmolLM2-135M-Instruct-Q4_1"}, "routing": {"--model", "SmolLM2-135M-Instruct-Q4_1"}, "test": {"no"},
	"kernels host": {"--out", "no"},
}

// badValues are values that a flag of that name never takes.
var badValues = map[string]string{
	"profile": "smollm3", "model": "no-such-model", "preset": "fast", "target": "tpu", "only": "swigluu", "exclude": "nothing", "force": "nothing",
	"rules": "no-such-folder", "kernels": "no-such-folder", "home": "no-such-folder", "dims": "seq_len", "dtype": "int4", "kv-bits": "7", "kv-group-size": "7",
	"max-kv-size": "-1", "quantized-kv-start": "-1", "max-tokens": "-1", "output": "nonsense", "rule": "nothing", "site": "nowhere", "as": "nonsense", "oracle": "llama.cpp",
	"prompts": "limericks", "lengths": "0", "runs": "-1", "random": "-1", "step": "0", "repetitions": "0", "trace-steps": "0", "n-gen": "-1", "n-depth": "-1", "by": "nonsense",
	"threshold": "-1", "cases": "0", "without": "vulkan", "layers": "0", "temp": "-1", "top-p": "2", "min-p": "2", "top-k": "-1", "sequence-length": "0", "batch-size": "0",
	"num-samples": "0", "kernels-as": "nonsense", "calls": "one", "file": "no-such-file", "replay": "no-such-file", "prompt-cache-file": "no-such-file", "rounds": "0", "warm-up": "-1",
	"prefill-step-size": "-1", "min-tokens-to-keep": "0",
}

// TestWrongUsage: whatever is wrong about a command line, the error says what to do next.
func TestWrongUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	all := commands(t)
	took, tries := map[string]bool{}, map[string]int{}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		c := all[path]
		words := strings.Fields(path)
		with := func(more ...string) []string { return slices.Concat(words, more) }
		if len(words) == 0 || words[0] != "help" && words[0] != "completion" {
			refused(t, c.CommandPath()+" --help", with("--no-such-flag")...)
		}
		if c.HasSubCommands() {
			refused(t, "", with("nothing-like-it")...)
			for _, sub := range c.Commands() {
				if name := sub.Name(); len(name) > 3 && !sub.Hidden && c.Args != nil && path != "matrix" {
					refused(t, "did you mean "+sub.CommandPath()+"?", with(name[:2]+name[3:])...)
				}
			}
		}
		if len(words) == 0 || words[0] == "help" || words[0] == "completion" {
			continue
		}
		if !c.HasSubCommands() {
			refused(t, "", with(strings.Split(strings.Repeat("no-such-thing ", 9), " ")[:9]...)...)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" || f.Name == "version" {
				return
			}
			flag := "--" + f.Name
			// A letter is missing; where that is another flag, a mistake cannot be seen.
			if wrong := f.Name[:1] + f.Name[2:]; len(f.Name) > 3 && c.Flags().Lookup(wrong) == nil {
				refused(t, "did you mean "+flag+"?", with("--"+wrong)...)
			}
			if f.NoOptDefVal == "" {
				refused(t, flag, with(flag)...)
			}
			switch f.Value.Type() {
			case "string", "stringArray", "stringSlice":
			default:
				refused(t, flag, with(flag+"=nonsense")...)
			}
			// A flag that many commands share is read by the same code: one of them will do.
			bad, ok := badValues[f.Name]
			if took[f.Name] = true; ok && !testing.Short() && (tries[f.Name] < 1 || os.Getenv("ZMLX_SOAK") != "") {
				tries[f.Name]++
				refused(t, "", slices.Concat(words, base[path], []string{flag + "=" + bad})...)
			}
		})
	}
	for name := range badValues {
		if !took[name] {
			t.Errorf("no command has a flag --%s", name)
		}
	}
}

// TestMistakes: mistakes that people make, and what they are told.
func TestMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("notes.txt", "notes")
	write("empty.json", "")
	write("empty.txt", "\n\n")
	if err := os.Mkdir("folder", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		// Something is missing.
		{"apply", "--profile all"}, {"explain", "profiles: "}, {"diff", ""}, {"graph", ""}, {"import", "zmlx-rewrite import FILE"}, {"export", "zmlx-rewrite export"}, {"bridge", "zmlx-rewrite bridge"},
		{"generate", "--model"}, {"generate --model SmolLM2-135M-Instruct-Q4_1", "--prompt"}, {"chat", "--model"}, {"cache-prompt", "--model"}, {"cache-prompt --model x --prompt y", "--prompt-cache-file"},
		{"perplexity", "perplexity"}, {"validate", "--model"}, {"verify --device", "--model"}, {"bench", "--model"}, {"smart", "--model"}, {"stress", "--model"}, {"routing", "--model"},
		{"report", "report CAPSULE"}, {"matrix", "matrix DIR"}, {"matrix gate", "matrix gate DIR"}, {"matrix html", "matrix html DIR"}, {"rules show", "rules list"}, {"kernels show", "kernels list"},
		{"rules new mine", "needs --model"}, {"rules new mine.rule --model x", "such as"}, {"kernels new mine", "--elementwise"}, {"kernels try", "kernels list"},
		// Something is not there.
		{"rules show llama.swiglo", "did you mean llama.swiglu?"}, {"kernels show swiglo", "did you mean swiglu?"}, {"kernels check swiglo", "did you mean swiglu?"}, {"kernels try swiglo", "did you mean swiglu?"},
		{"apply --profile smollm", "did you mean smollm2?"}, {"apply --model SmolLM2-135M-Instruct-Q4", "did you mean"}, {"generate --model SmolLM2 --prompt x", ""},
		{"rules schema capsul", "capsule"}, {"test --run nowhere", ""}, {"verify llama.swiglo", "did you mean llama.swiglu?"}, {"explain --profile smollm2 --rule swiglo", "rules list"},
		{"report no.json", ""}, {"report notes.txt", "bench --capsule"}, {"report empty.json", "bench --capsule"}, {"report folder", ""}, {"matrix no", ""}, {"matrix folder", ""}, {"matrix gate folder", ""}, {"import no.mlxfn", ""}, {"import notes.txt", ""},
		{"export no.zg", ""}, {"diff a.zg b.zg", ""}, {"diff a.zg", "two programs"}, {"lint no.yaml", ""}, {"lint folder", "rules/"}, {"export SmolLM2-135M-Instruct-Q4_1 --dims batch=1,seq_len=1,kv_cap=8 --out none/x.mlxfn", "no folder none"}, {"apply --profile smollm2 --rules no.yaml", ""}, {"apply --replay no.json --model SmolLM2-135M-Instruct-Q4_1", ""},
		{"generate --model notes.txt --prompt x", ""}, {"generate --model folder --prompt x", ""}, {"perplexity SmolLM2-135M-Instruct-Q4_1 no.txt", ""},
		{"validate SmolLM2-135M-Instruct-Q4_1 --prompts no.txt", ""}, {"routing --model SmolLM2-135M-Instruct-Q4_1 --file no.txt", ""},
		// Weights are needed, and a configuration has none.
		{"generate --model SmolLM2-135M-Instruct-Q4_1 --prompt x", "folder"}, {"validate SmolLM2-135M-Instruct-Q4_1", "folder"}, {"bench --model SmolLM2-135M-Instruct-Q4_1", "folder"},
		// What there is, is nothing.
		{"validate SmolLM2-135M-Instruct-Q4_1 --prompts empty.txt", "one a line"},
		// Flags that contradict each other, or themselves.
		{"report --verify --out f empty.json", "> f"}, {"routing --model x --random 4 --prompt y", "leave out --prompt and --file, or --random"},
		{"matrix folder --threshold -1", "--threshold 0.97"}, {"matrix gate folder --threshold NaN", "--threshold 0.97"},
		{"kernels new mine --elementwise x --reduce y", "--elementwise and --reduce exclude each other"}, {"bench --model x --profile smollm2,qwen3 --capsule c.json", "--capsule"}, {"bench --model x -p 0 -n 0", "-n"}, {"stress --model x --lengths 1", "--lengths"},
		{"stress --model x --prompts code,code", "once"}, {"stress --model x --kv-bits 8 --routing", ""}, {"verify --heavy-tailed --device --model SmolLM2-135M-Instruct-Q4_1", "--random-weights"},
		{"verify --watch -o json", "-o"}, {"verify --replay x.json swiglu", ""}, {"smart --model x -r 2", "-r 3"}, {"smart --model x --preset all", "--preset"}, {"apply --profile smollm2 --out plan.txt", ".journal.json"},
		{"apply --profile qwen3 --out plan.zg", "--model"}, {"apply --profile smollm2 --dims batch=1", "--dims"}, {"apply --profile smollm2 --dims batch=1,seq_len=0", "--dims"}, {"validate --oracle mlx-lm --max-kv-size 8 SmolLM2-135M-Instruct-Q4_1", "--oracle"},
		{"generate --model x --prompt a --prompt b", "--prompt"}, {"export --as python no.zg", "--rule"}, {"kernels check --without vulkan swiglu", "metal"}, {"kernels show swiglu --source vulkan", "metal"},
	} {
		refused(t, c[1], strings.Fields(c[0])...)
	}
}

// TestUsageHints: every error about usage has a hint where it is made.
func TestUsageHints(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 50 {
		t.Fatal(files, err)
	}
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		hinted := map[ast.Node]bool{}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if n.Sel.Name == "WithHint" {
					hinted[n.X] = true
				}
			case *ast.AssignStmt: // issue := diag.Errorf(...), and a hint of several below
				if name, ok := n.Lhs[0].(*ast.Ident); ok && name.Name == "issue" {
					hinted[n.Rhs[0]] = true
				}
			case *ast.CallExpr:
				s, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || s.Sel.Name != "Errorf" || len(n.Args) < 3 {
					break
				}
				code := n.Args[0]
				if sum, ok := code.(*ast.BinaryExpr); ok {
					code = sum.X
				}
				if lit, ok := code.(*ast.BasicLit); !ok || !strings.HasPrefix(lit.Value, `"usage/`) {
					break
				}
				if seen++; !hinted[n] {
					t.Errorf("%s: an error about usage without a hint", set.Position(n.Pos()))
				}
			}
			return true
		})
	}
	if seen < 80 {
		t.Errorf("%d errors about usage were looked at", seen)
	}
}
