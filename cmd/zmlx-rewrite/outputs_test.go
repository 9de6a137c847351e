package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/spf13/cobra"

	"zmlx-rewrite/testdata/scripts"
)

// outputFor is what a command line prints on standard output, or nil if that is no JSON.
func outputFor(args []string) *output {
	c, rest, err := (&app{stdout: io.Discard, stderr: io.Discard, progress: io.Discard}).root().Find(args)
	if err != nil || c.ParseFlags(rest) != nil {
		return nil
	}
	flag := func(name string) string {
		if f := c.Flags().Lookup(name); f != nil {
			return f.Value.String()
		}
		return ""
	}
	name := schemaName(c)
	switch {
	case name == "bridge" && flag("out") == "": // it prints JSON in any case
		return outputNamed(name)
	case flag("output") != "json":
		return nil
	case flag("out") != "" && (name == "report" || name == "routing" || name == "verify"): // the JSON is there
		return nil
	case name == "bridge":
		name = "bridge-out"
	case name == "export" && flag("as") == "python":
		name = "export-python"
	case name == "bench" && flag("trace") == "true":
		name = "bench-trace"
	case name == "report" && flag("verify") == "true":
		name = "report-verify"
	case name == "verify" && flag("replay") != "":
		name = "verify-replay"
	case name == "verify" && flag("device") == "true":
		name = "verify-device"
	case name == "verify" && flag("model") != "" && c.Flags().NArg() == 0:
		name = "verify-model"
	case name == "verify":
		name = "verify-rules"
	}
	return outputNamed(name)
}

// schemaName is a command's name as schemas have it.
func schemaName(c *cobra.Command) string {
	_, path, _ := strings.Cut(c.CommandPath(), " ")
	return strings.ReplaceAll(path, " ", "-")
}

// hold holds what a command printed against its schema, as it is printed itself.
func (o *output) hold(printed []byte) error {
	s := &jsonschema.Schema{}
	if err := json.Unmarshal(o.text(), s); err != nil {
		return err
	}
	r, err := s.Resolve(nil)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(printed))
	for {
		var x any
		if err := dec.Decode(&x); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("what %s prints is no JSON: %w", o.name, err)
		}
		if err := r.Validate(x); err != nil {
			return fmt.Errorf("what %s prints is not of its schema: %w", o.name, err)
		}
	}
}

// notOfSchema is the exit code of a script's command whose output is not of its schema. No
// script expects it.
const notOfSchema = 97

// checkedMain is main for scripts: all that they print with -o json is held against its schema.
func checkedMain() {
	o := outputFor(os.Args[1:])
	if o == nil {
		main()
	}
	var printed bytes.Buffer
	code := run(os.Args[1:], os.Stdin, io.MultiWriter(os.Stdout, &printed), os.Stderr)
	if code != 2 { // that may end in the middle; after ctrl-C what is printed is whole
		if err := o.hold(printed.Bytes()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = notOfSchema
		}
	}
	os.Exit(code)
}

// TestHold: drift is found: of a command's fields, and of what they may say.
func TestHold(t *testing.T) {
	good := `{"samples":1,"tokens":9,"perplexity":2.5,"standard_error":0.1,"rewritten_perplexity":2.5,"rewritten_standard_error":0.1,"relative_difference":0,"profile":"p","kernel_runs":"cpu"}`
	o := outputNamed("perplexity")
	if err := o.hold([]byte(good + "\n" + good + "\n")); err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string][2]string{
		"a field more":         {`"samples":1,`, `"samples":1,"more":2,`},
		"a field less":         {`"samples":1,`, ``},
		"another name":         {`"samples"`, `"Samples"`},
		"another type":         {`"tokens":9`, `"tokens":"9"`},
		"no whole number":      {`"tokens":9`, `"tokens":9.5`},
		"null":                 {`"profile":"p"`, `"profile":null`},
		"a line that is text":  {"{", "note\n{"},
		"a line that was torn": {`,"kernel_runs":"cpu"}`, ``},
	} {
		if err := o.hold([]byte(good + "\n" + strings.Replace(good, x[0], x[1], 1))); err == nil {
			t.Errorf("%s: the schema lets it pass", what)
		}
	}
	row := `{"model":"m","model_size":1,"model_n_params":2,"backend":"b","test":"tg8","n_depth":0,"program":"rewritten","profile":"p","avg_ts":1,"stddev_ts":0,"median_ts":1,"samples_ts":[1],"launches_per_step":3}`
	rows := outputNamed("bench")
	if err := rows.hold([]byte(row)); err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string][2]string{
		"an unknown word":               {`"rewritten"`, `"changed"`},
		"null for a list":               {`[1]`, `null`},
		"null where it is left out":     {`"launches_per_step"`, `"interval":null,"launches_per_step"`},
		"an interval without an end":    {`"launches_per_step"`, `"interval":[1],"launches_per_step"`},
		"a field more in what is in it": {`"launches_per_step"`, `"routing":{"entropy":1,"balance":1,"max_over_mean":1,"weight_entropy":1,"other":0,"choices":1,"more":1},"launches_per_step"`},
	} {
		if err := rows.hold([]byte(strings.Replace(row, x[0], x[1], 1))); err == nil {
			t.Errorf("%s: the schema lets it pass", what)
		}
	}
}

// TestHoldEither: an object is of one of the kinds that a command prints, and not of a mixture.
func TestHoldEither(t *testing.T) {
	o := outputNamed("stress")
	row := `{"model":"m","model_size":1,"model_n_params":2,"backend":"b","test":"code/8","n_depth":0,"program":"rewritten","profile":"p","avg_ts":1,"stddev_ts":0,"median_ts":1,"samples_ts":[1],"drift":0.9,"launches_per_step":3}`
	mean := `{"model":"m","backend":"b","profile":"p","mean_of":"length","which":"8","combinations":2,"unrewritten_ts":1,"rewritten_ts":2,"ratio":2,"interval":[1.9,2.1]}`
	if err := o.hold([]byte(row + "\n" + mean + "\n")); err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]string{
		"a mean of what there is not": strings.Replace(mean, `"length"`, `"day"`, 1),
		"a mean without a ratio":      strings.Replace(mean, `"ratio":2,`, ``, 1),
		"a mean with a row's field":   strings.Replace(mean, `"ratio":2,`, `"ratio":2,"test":"code/8",`, 1),
		"an interval that is null":    strings.Replace(mean, `[1.9,2.1]`, `null`, 1),
	} {
		if o.hold([]byte(x)) == nil {
			t.Errorf("%s: the schema lets it pass", what)
		}
	}
	if outputNamed("bench").hold([]byte(mean)) == nil {
		t.Error("bench prints no means, and its schema lets one pass")
	}
}

// noJSON are the commands without -o json, and why. Those that cobra adds, help and completion,
// print text for people and for shells.
var noJSON = map[string]string{
	"rules-schema": "what it prints is JSON, and of a schema of its own: that of JSON Schema",
	"matrix-html":  "a page is a page; matrix -o json has what is on it",
	"kernels-host": "hidden: scripts/build-kernels.sh alone calls it, for the folder that it fills",
}

// TestOutputsAreComplete: every command has -o json, or a reason why not; what has it has a schema,
// every schema is a command's, all fields say what they are, and docs/output is what `rules schema`
// prints. ZMLX_UPDATE_DOCS=1 writes it.
func TestOutputsAreComplete(t *testing.T) {
	var commands []string
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		f := c.Flags().Lookup("output")
		has := f != nil && strings.Contains(f.Usage, "json")
		if has {
			commands = append(commands, schemaName(c))
		}
		helps := f == nil && c.HasSubCommands() // it only holds others
		if _, excused := noJSON[schemaName(c)]; has == excused && !helps {
			t.Errorf("%s: -o json: %v, a reason in noJSON why not: %v", c.CommandPath(), has, excused)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
	of := func(schema, command string) bool { return schema == command || strings.HasPrefix(schema, command+"-") }
	for _, c := range commands {
		if !slices.ContainsFunc(outputs, func(o output) bool { return of(o.name, c) }) {
			t.Errorf("%s has -o json and no schema", c)
		}
	}
	dir := filepath.Join("..", "..", "docs", "output")
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range outputs {
		o := &outputs[i]
		if !slices.ContainsFunc(commands, func(c string) bool { return of(o.name, c) }) {
			t.Errorf("%s is no command with -o json", o.name)
		}
		var said func(at string, s *jsonschema.Schema)
		said = func(at string, s *jsonschema.Schema) {
			for name, p := range s.Properties {
				if p.Description == "" {
					t.Errorf("%s: %s.%s has no description", o.name, at, name)
				}
				said(at+"."+name, p)
			}
			if s.Items != nil {
				said(at, s.Items)
			}
			if s.AdditionalProperties != nil {
				said(at, s.AdditionalProperties)
			}
			for _, kind := range s.OneOf {
				said(at, kind)
			}
		}
		said("", o.schema(""))
		file := filepath.Join(dir, o.name+".schema.json")
		files = slices.DeleteFunc(files, func(f string) bool { return f == file })
		if os.Getenv("ZMLX_UPDATE_DOCS") != "" {
			if err := os.WriteFile(file, o.text(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, o.text()) {
			t.Errorf("write it again: zmlx-rewrite rules schema %s > docs/output/%s.schema.json (%v)", o.name, o.name, err)
		}
	}
	if len(files) > 0 {
		t.Errorf("no schemas: %s", files)
	}
}

// TestOutputsAreHeld: of every schema some script prints what it is of, which checkedMain holds
// against it.
func TestOutputsAreHeld(t *testing.T) {
	seen := map[string]bool{}
	err := fs.WalkDir(scripts.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(scripts.Files, path)
		for line := range strings.Lines(string(data)) {
			_, args, ok := strings.Cut(line, " zmlx-rewrite ")
			if !ok || strings.HasPrefix(line, "#") || !strings.Contains(line, "exec ") && !strings.Contains(line, "exits ") {
				continue
			}
			if o := outputFor(scriptWords(args)); o != nil {
				seen[o.name] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outputs {
		if !seen[o.name] {
			t.Errorf("no script prints what %s does with -o json", o.name)
		}
	}
}

// scriptWords takes a script's line apart, with its quotes.
func scriptWords(line string) (out []string) {
	word, quoted, any := "", false, false
	for _, r := range line + " " {
		switch {
		case r == '\'':
			quoted, any = !quoted, true
		case !quoted && (r == ' ' || r == '\n'):
			if any {
				out = append(out, word)
			}
			word, any = "", false
		default:
			word, any = word+string(r), true
		}
	}
	return out
}
