//go:build mlx

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// transcripts are blocks that begin with "$ ". What stands before them may be a comment, which
// readers do not see: that one is too slow for every day (soak), that it cannot be compared,
// since it depends on what was measured (as measured), or what has to run first (first: ...).
var transcripts = regexp.MustCompile(`(?ms)(?:^<!-- ([^\n]*) -->\n)?^` + "```\n" + `(\$ .*?)^` + "```$")

// busy is a note on standard error that depends on the moment.
var busy = regexp.MustCompile(`(?m)^note: the machine was .*\n`)

// TestDocs runs the transcripts of documents, one command after the other. Output must be what
// stands there, but for measured numbers, hashes and the width of columns; … stands for the rest
// of a line, and for lines if it is alone on one. With ZMLX_UPDATE_DOCS=1 output that differs is
// written into the document: read the difference.
func TestDocs(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real models; not with -short")
	}
	model := firstFile("ZMLX_SMOLLM2", ".cache/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf")
	library := firstFile("ZMLX_KERNELS", "bin/libzmlx-kernels.so")
	if model == "" || library == "" {
		t.Skip("needs SmolLM2 and the library of CPU kernels (make build, make setup)")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	python := firstFile("ZMLX_PYTHON", ".cache/oracle/venv/bin/python")
	_, noJQ := exec.LookPath("jq")
	self, err := exec.LookPath("zmlx-rewrite")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"QUICKSTART.md", "COOKBOOK.md", "MEASURE.md", "TOUR.md"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
				t.Fatal(err)
			}
			for link, to := range map[string]string{"SmolLM2-135M-Instruct.Q4_1.gguf": model, "qwen3_moe": filepath.Join(root, "testdata/trained/qwen3_moe"), "bin/zmlx-rewrite": self} {
				if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(root, "docs", name)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			run := func(command string) (string, error) {
				cmd := exec.Command("sh", "-c", command)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "ZMLX_KERNELS="+library, "ZMLX_PYTHON="+python, "MODEL=SmolLM2-135M-Instruct.Q4_1.gguf", "ROOT="+root, "NO_COLOR=1")
				got, err := cmd.CombinedOutput()
				return busy.ReplaceAllString(strings.ReplaceAll(string(got), dir+"/", ""), ""), err
			}
			text, ran, left := string(data), 0, 0
			for _, at := range transcripts.FindAllStringSubmatchIndex(text, -1) {
				comment := ""
				if at[2] >= 0 {
					comment = text[at[2]:at[3]]
				}
				if first, ok := strings.CutPrefix(comment, "first: "); ok {
					if got, err := run(first); err != nil {
						t.Fatalf("%s: %v\n%s", first, err, got)
					}
				} else if comment == "as measured" || comment == "soak" && os.Getenv("ZMLX_SOAK") == "" {
					left++
					continue
				}
				for _, one := range transcript(text[at[4]:at[5]]) {
					if python == "" && strings.Contains(one.command, "--oracle") || noJQ != nil && strings.Contains(one.command, "| jq ") {
						t.Logf("not run, since there is no jq, or no Python with mlx-lm: %s", one.command)
						continue
					}
					got, _ := run(one.command) // exit codes are part of what is shown
					ran++
					if alike(one.output, got) {
						continue
					}
					data = []byte(strings.Replace(string(data), "$ "+one.command+"\n"+one.output, "$ "+one.command+"\n"+got, 1))
					if os.Getenv("ZMLX_UPDATE_DOCS") == "" {
						t.Errorf("%s: %s\nprints\n%s\nthe document has\n%s", name, one.command, got, one.output)
					}
				}
			}
			t.Logf("%d commands; %d transcripts were left out", ran, left)
			if ran < 5 {
				t.Errorf("only %d commands", ran)
			}
			if os.Getenv("ZMLX_UPDATE_DOCS") != "" && string(data) != text {
				if err := os.WriteFile(file, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type shown struct{ command, output string }

// transcript takes a block apart. A command goes on over lines that end with a backslash, and
// over a here-document.
func transcript(block string) (out []shown) {
	lines := strings.SplitAfter(block, "\n")
	for i := 0; i < len(lines); i++ {
		command, is := strings.CutPrefix(lines[i], "$ ")
		if !is {
			out[len(out)-1].output += lines[i]
			continue
		}
		for strings.HasSuffix(command, "\\\n") && i+1 < len(lines) {
			i++
			command += lines[i]
		}
		if strings.Contains(command, "<<'END'") {
			for i+1 < len(lines) && !strings.HasSuffix(command, "\nEND\n") {
				i++
				command += lines[i]
			}
		}
		out = append(out, shown{command: strings.TrimSuffix(command, "\n")})
	}
	return out
}

var (
	number = regexp.MustCompile(`-?[0-9]+\.[0-9]+(e[+-]?[0-9]+)?|\b[0-9]+(\.[0-9]+)?e-[0-9]+|\b[0-9]+ µs`)
	hash   = regexp.MustCompile(`\b[0-9a-f]*[0-9][0-9a-f]*[a-f][0-9a-f]*\b|\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b|\b[0-9]{2}:[0-9]{2}(:[0-9]{2})?\b`)
	space  = regexp.MustCompile(`( |-{2,}:)+|( |-{3,})+`)
)

// plain is a line without what is measured.
func plainLine(line string) string {
	line = number.ReplaceAllString(strings.TrimRight(line, " \n"), "#")
	line = hash.ReplaceAllStringFunc(line, func(s string) string {
		if len(s) < 5 {
			return s
		}
		return "@"
	})
	return space.ReplaceAllString(line, " ")
}

func alike(want, got string) bool {
	var pattern strings.Builder
	pattern.WriteString("^")
	for line := range strings.Lines(want) {
		if strings.TrimSpace(line) == "…" {
			pattern.WriteString(`(?s:.*)`)
			continue
		}
		for i, part := range strings.Split(plainLine(line), "…") {
			if i > 0 {
				pattern.WriteString(".*")
			}
			pattern.WriteString(regexp.QuoteMeta(part))
		}
		pattern.WriteString("\n")
	}
	var text strings.Builder
	for line := range strings.Lines(got) {
		text.WriteString(plainLine(line) + "\n")
	}
	return regexp.MustCompile(pattern.String() + "$").MatchString(text.String())
}

// TestHandoff: the launches that HANDOFF.md states are those of today's rules.
func TestHandoff(t *testing.T) {
	data, err := os.ReadFile("../../docs/HANDOFF.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| launches of a decode step.*?\| (.*?) \| (.*?) \| (.*?) \|`).FindStringSubmatch(string(data))
	if row == nil {
		t.Fatal("the row with the launches is not there")
	}
	now := row[0]
	for i, model := range []string{"DeepSeek-V3-4bit", "DeepSeek-V3.2-4bit", "Kimi-K2.5-4bit"} {
		var counts []string
		for _, target := range []string{"metal", "cuda"} {
			out := runs(t, "apply", "--model", model, "--target", target, "--dims", "batch=1,seq_len=1,kv_len=256")
			m := regexp.MustCompile(`launches (\d+) → (\d+)`).FindStringSubmatch(out)
			if m == nil {
				t.Fatal(out)
			}
			if counts == nil {
				counts = m[1:2]
			}
			counts = append(counts, m[2])
		}
		got := strings.Join(counts, ", ")
		now = strings.Replace(now, "| "+row[i+1]+" |", "| "+got+" |", 1)
		if got != row[i+1] && os.Getenv("ZMLX_UPDATE_DOCS") == "" {
			t.Errorf("%s: the document says %s, they are %s; ZMLX_UPDATE_DOCS=1 writes that", model, row[i+1], got)
		}
	}
	if os.Getenv("ZMLX_UPDATE_DOCS") != "" {
		if err := os.WriteFile("../../docs/HANDOFF.md", []byte(strings.Replace(string(data), row[0], now, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAlike: what is measured may differ, nothing else.
func TestAlike(t *testing.T) {
	for _, c := range []struct {
		want, got string
		alike     bool
	}{
		{"a 1.5 tokens/s\n", "a  23.75 tokens/s\n", true},
		{"launches 576 → 516\n", "launches 576 → 517\n", false},
		{"rule (0f3202fd4dd8)\n", "rule (a7896c2df485)\n", true},
		{"| a | 1.0 |\n| --- | --: |\n", "| a   |   17.25 |\n| ----- | -----: |\n", true},
		{"one\n…\nlast\n", "one\n2\n3\nlast\n", true},
		{"one\n…\nlast\n", "one\n2\n3\n", false},
		{"path …/x: same\n", "path /a/b/x: same\n", true},
		{"1\n", "2\n", false}, {"", "x\n", false}, {"same\n", "differ\n", false},
	} {
		if got := alike(c.want, c.got); got != c.alike {
			t.Errorf("%q, %q: %v", c.want, c.got, got)
		}
	}
	got := transcript("$ one \\\n  more\nout\n$ cat > x <<'END'\nbody\nEND\n$ three\n")
	if len(got) != 3 || got[0] != (shown{"one \\\n  more", "out\n"}) || got[1].command != "cat > x <<'END'\nbody\nEND" {
		t.Errorf("%q", got)
	}
}
