package main

import (
	"cmp"
	"reflect"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"zmlx-rewrite/measure/capsule"
	"zmlx-rewrite/measure/routing"
	"zmlx-rewrite/measure/schema"
	"zmlx-rewrite/report"
	"zmlx-rewrite/report/figures"
	"zmlx-rewrite/verify/whole"
)

// output is what a command prints with -o json: objects, one behind the other, all of one schema.
type output struct {
	name    string // the command's; where flags make it print something else, with more behind it
	command string // if it is not the name
	schema  func(title string) *jsonschema.Schema
}

// outputs are those of all commands that have -o json. docs/output has their schemas.
var outputs = []output{
	{"apply", "", line[report.Plan](planWords...)},
	{"bench", "", line[figures.Row](sideWords)},
	{"bench-trace", "bench --trace", line[traced](sideWords)},
	{"bridge", "", line[bridged](words{"plans.numerics", numerics}, words{"plans.rules.numerics", numerics})},
	{"bridge-out", "bridge --out", line[bridgedFile]()},
	{"cache-prompt", "", line[cachedPrompt]()},
	{"chat", "", line[generated](finishWords)},
	{"diff", "", line[changed]()},
	{"doctor", "", line[health](words{"engine", []any{"mlx", "ref"}})},
	{"explain", "", line[report.Plan](planWords...)},
	{"export", "", line[exportedProgram]()},
	{"export-python", "export --as python", line[exportedRule](words{"numerics", numerics})},
	{"generate", "", line[generated](finishWords)},
	{"graph", "", line[shownGraph]()},
	{"import", "", line[importedProgram]()},
	{"kernels-bench", "kernels bench", line[kernelTimed]()},
	{"kernels-check", "kernels check", line[kernelChecked]()},
	{"kernels-list", "kernels list", line[listedKernel](words{"numerics", numerics})},
	{"kernels-new", "kernels new", line[newKernel]()},
	{"kernels-show", "kernels show", line[shownKernel](words{"numerics", numerics})},
	{"kernels-try", "kernels try", line[triedKernel]()},
	{"lint", "", line[linted](words{"issues.severity", []any{"error", "warning", "note"}})},
	{"matrix", "", line[figures.Series]()},
	{"matrix-gate", "matrix gate", line[gated](words{"verdict", []any{figures.Held, figures.Unclear, figures.Regressed, figures.Differs, figures.Missing}})},
	{"models", "", line[report.Model]()},
	{"perplexity", "", line[perplexities]()},
	{"profiles", "", line[listedProfile]()},
	{"report", "", either(line[figures.Row](sideWords), line[figures.MeanRow](meanWords))},
	{"report-verify", "report --verify", line[statement](words{"verdict", []any{holds, differs, noted}})},
	{"routing", "", line[routing.Stats]()},
	{"rules-list", "rules list", line[listedRule](words{"numerics", numerics})},
	{"rules-new", "rules new", line[newRule](words{"numerics", numerics})},
	{"rules-show", "rules show", line[shownRule](words{"numerics", numerics})},
	{"smart", "", line[smartFound]()},
	{"stress", "", either(line[figures.Row](sideWords), line[figures.MeanRow](meanWords))},
	{"test", "", line[tested](words{"verdict", []any{scriptOK, scriptFailed, scriptSkipped}})},
	{"validate", "", line[validated](words{"verdict", verdicts}, words{"oracle.unrewritten.verdict", verdicts}, words{"oracle.rewritten.verdict", verdicts})},
	{"verify-device", "verify --model --device", line[siteChecked](words{"verdict", []any{"passed", "failed", "skipped"}}, words{"numerics", numerics})},
	{"verify-model", "verify --model", line[modelVerified](words{"verdict", []any{string(whole.BitExact), string(whole.Identical), string(whole.NearTie), string(whole.Differs)}})},
	{"verify-replay", "verify --replay", line[replayed](words{"verdict", []any{replayEqual, replayDiffers, notApplied}})},
	{"verify-rules", "verify", line[report.Proofs](words{"rules.status", statuses}, words{"rules.checks.status", statuses}, words{"rules.numerics", numerics}, words{"together.status", statuses}, words{"together.checks.status", statuses})},
	{"version", "", line[built](words{"engine", []any{"mlx", "ref"}})},
}

// What some fields may say.
var (
	numerics    = []any{"exact", "reordered", "lossy"}
	statuses    = []any{"proven", "tested", "assumed", "unchecked", "failed"}
	verdicts    = []any{"bit-exact", "token-identical", "closer-to-fp32", "near-tie", "differs"}
	planWords   = []words{{"numerics", numerics}, {"rules.numerics", numerics}}
	sideWords   = words{"program", []any{figures.Unrewritten, figures.Rewritten, figures.Against}}
	meanWords   = words{"mean_of", []any{capsule.ByLength, capsule.ByPrompt, capsule.OfAll}}
	finishWords = words{"finish_reason", []any{"stop", "length", interrupted}}
)

// words are all that a field may say; at is its path.
type words struct {
	at   string
	list []any
}

// line makes the schema of a Go type.
func line[T any](fields ...words) func(string) *jsonschema.Schema {
	return func(title string) *jsonschema.Schema {
		s := schema.Closed[T](title, &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
			reflect.TypeFor[report.Number](): {AnyOf: []*jsonschema.Schema{{Type: "number"}, {Enum: []any{"NaN", "+Inf", "-Inf"}}}},
		}})
		for _, w := range fields {
			at := s
			for _, name := range strings.Split(w.at, ".") {
				if at.Items != nil {
					at = at.Items
				}
				at = at.Properties[name]
			}
			at.Enum = w.list
		}
		return s
	}
}

// either is for commands that print objects of several kinds: each is of one schema.
func either(kinds ...func(string) *jsonschema.Schema) func(string) *jsonschema.Schema {
	return func(title string) *jsonschema.Schema {
		s := kinds[0](title)
		out := &jsonschema.Schema{Schema: s.Schema, Title: title}
		for _, kind := range kinds {
			s := kind("")
			s.Schema = ""
			out.OneOf = append(out.OneOf, s)
		}
		return out
	}
}

func (o *output) text() []byte {
	return schema.Text(o.schema("what zmlx-rewrite " + cmp.Or(o.command, o.name) + " prints with -o json, once or several times"))
}

func outputNamed(name string) *output {
	for i := range outputs {
		if outputs[i].name == name {
			return &outputs[i]
		}
	}
	return nil
}

func outputNames() []string {
	var names []string
	for _, o := range outputs {
		names = append(names, o.name)
	}
	return names
}
