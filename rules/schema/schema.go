// Package schema generates the JSON Schemas by which editors complete and check
// rule, profile and kernel files (docs/*.schema.json). It uses draft-07 keywords
// only, which is what yaml-language-server reads. The parsers of packages rules,
// profiles and kernels decide what is right; the schema is their summary, and a
// test holds it against every file that ships.
package schema

import (
	"encoding/json"

	"github.com/google/jsonschema-go/jsonschema"
)

const draft = "http://json-schema.org/draft-07/schema#"

// Text returns the schema of "rule", "profile" or "kernel" files.
func Text(kind string) ([]byte, bool) {
	var s *jsonschema.Schema
	switch kind {
	case "rule":
		s = Rule()
	case "profile":
		s = Profile()
	case "kernel":
		s = Kernel()
	default:
		return nil, false
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // the schemas are constants
	}
	return append(data, '\n'), true
}

const name = "^[a-z][a-z0-9_]*$"

func text(doc string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Description: doc} }

func named(doc string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: name, Description: doc}
}

func object(doc string, required []string, props map[string]*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Description: doc, Required: required, Properties: props, AdditionalProperties: closed()}
}

// closed refuses keys that are not listed.
func closed() *jsonschema.Schema { return &jsonschema.Schema{Not: &jsonschema.Schema{}} }

func list(doc string, items *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Description: doc, Items: items}
}

// lines is an ordered mapping of "name: expression", or "a, b: expression".
func lines(doc string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Description: doc, AdditionalProperties: text("an expression"),
		PropertyNames: &jsonschema.Schema{Pattern: `^[a-z][a-z0-9_]*(, *[a-z][a-z0-9_]*)*$`}}
}

func mapping(doc string, value *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Description: doc, AdditionalProperties: value}
}

func version() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "integer", Enum: []any{1}, Description: "version of the language"}
}

func words(doc string, list ...any) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: list, Description: doc}
}

func either(doc string, options ...*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Description: doc, AnyOf: options}
}

func numerics() *jsonschema.Schema {
	return words("how results may differ: exact, not in one bit; reordered, sums in another order; lossy, more than that", "exact", "reordered", "lossy")
}

// Rule describes rules/*.yaml.
func Rule() *jsonschema.Schema {
	alternative := either("one spelling that the fragment stands for", text("an expression"),
		object("a spelling with a condition or with settings", []string{"is"}, map[string]*jsonschema.Schema{
			"is": text("an expression"), "when": text("a condition over the fragment's parameters"),
			"set": mapping("$variables that this spelling decides", &jsonschema.Schema{Types: []string{"string", "number", "boolean"}}),
		}))
	rule := object("a rewrite rule", []string{"name", "doc", "match", "replace", "numerics"}, map[string]*jsonschema.Schema{
		"name":     named("unique in the file"),
		"doc":      text("one sentence: what the rule saves"),
		"since":    text("version of zmlx-rewrite that brought the rule"),
		"match":    lines("the pattern: name: op(operands, attributes)"),
		"results":  list("inner values that may be used outside the match", named("a line of match")),
		"guards":   mapping("conditions under which the rule is right", text("a condition")),
		"weights":  lines("parameters made from parameters at load: concat, stack, split, transpose, permute"),
		"replace":  lines("what takes the place of the results"),
		"numerics": numerics(),
		"cost": mapping("conditions that keep the rule from where it is known to lose", either("", text("a condition"),
			object("a condition with its source", []string{"when"}, map[string]*jsonschema.Schema{"when": text("a condition"), "source": text("the public measurement"),
				"launches": {Type: "integer", Minimum: jsonschema.Ptr(1.0), Description: "so many launches more than before, of kernels only, which were measured to be faster"}}))),
	})
	s := object("rewrite rules of one family of models", []string{"zmlx", "family"}, map[string]*jsonschema.Schema{
		"zmlx": version(), "family": named("first part of the rules' full names"), "doc": text(""),
		"include":   list("rule files whose fragments are used here", text("a file in the same folder")),
		"fragments": mapping("named sub-patterns: head(values, $variables): spellings", either("", alternative, list("spellings", alternative))),
		"rules":     list("the rules", rule),
	})
	s.Schema = draft
	return s
}

// Profile describes profiles/*.yaml.
func Profile() *jsonschema.Schema {
	off := &jsonschema.Schema{Type: "object", Description: "targets where the rule is not used, with the reason", AdditionalProperties: closed(),
		Properties: map[string]*jsonschema.Schema{"all": text("reason"), "cpu": text("reason"), "cuda": text("reason"), "metal": text("reason")}}
	use := func(doc string) *jsonschema.Schema {
		return list(doc, either("", text("full name of a rule"),
			object("", []string{"rule"}, map[string]*jsonschema.Schema{"rule": text("full name of a rule"), "off": off})))
	}
	s := object("which rules a family of models uses", []string{"zmlx", "profile", "doc", "rules"}, map[string]*jsonschema.Schema{
		"zmlx": version(), "profile": named("the file's own name"), "doc": text("for which models"),
		"models": list("Hugging Face model_type values", text("")),
		"rules":  use("in order of preference"),
		"kv_cache": object("whether the cache of keys and values is quantized by default", []string{"bits", "why"}, map[string]*jsonschema.Schema{
			"bits":       {Type: "integer", Enum: []any{0, 2, 3, 4, 5, 6, 8}, Description: "0: it is not"},
			"group_size": {Type: "integer", Enum: []any{32, 64, 128}, Description: "64 without it"},
			"start":      {Type: "integer", Description: "tokens from which on it is; 5000 without it"},
			"why":        text("what that rests on"),
			"rules":      use("used beside the others where it is quantized")}),
		"expect": list("how often rules must match", object("", []string{"model", "dims", "rules"}, map[string]*jsonschema.Schema{
			"model":   text("name of a reference configuration"),
			"targets": list("where it holds; everywhere without it", words("", "cpu", "cuda", "metal")),
			"dims":    mapping("symbols of the call", &jsonschema.Schema{Type: "integer"}),
			"rules":   mapping("full name of a rule: matches", &jsonschema.Schema{Type: "integer"}),
			"launches": object("kernel launches of the call", []string{"before", "after"},
				map[string]*jsonschema.Schema{"before": {Type: "integer"}, "after": {Type: "integer"}}),
		})),
	})
	s.Schema = draft
	return s
}

// Kernel describes kernels/*.yaml.
func Kernel() *jsonschema.Schema {
	value := &jsonschema.Schema{Types: []string{"string", "number", "boolean"}}
	expression := &jsonschema.Schema{Types: []string{"string", "integer"}, Description: "an integer expression"}
	s := object("what a kernel computes, and for which operands", []string{"zmlx", "kernel", "doc", "inputs", "reference", "results", "numerics"}, map[string]*jsonschema.Schema{
		"zmlx": version(), "kernel": named("the file's own name"), "doc": text("one sentence"),
		"types":  mapping("names for sets of element types", list("", text("an element type"))),
		"inputs": mapping("operand: type[shape over named dimensions]; name? for one that may be absent", text("such as T[..., n]")),
		"attrs": mapping("attributes", object("", []string{"kind"}, map[string]*jsonschema.Schema{
			"kind": words("", "int", "float", "word", "bool"), "in": list("allowed values", value), "default": value})),
		"reference": lines("what the kernel computes, in MLX ops"),
		"results":   list("lines of the reference", named("")),
		"numerics":  numerics(),
		"domain":    mapping("further conditions on the operands", text("a condition")),
		"launch": object("threads to start: expressions over dimensions, rows and attributes", []string{"grid", "threadgroup"}, map[string]*jsonschema.Schema{
			"grid": list("in all", expression), "threadgroup": list("in a group", expression)}),
		"early": list("inputs that the source reads before it calls ready(): weights", named("an input")),
		"check": object("how cases for checking are made", nil, map[string]*jsonschema.Schema{
			"dims":   mapping("lengths to try", list("", &jsonschema.Schema{Type: "integer"})),
			"derive": mapping("dimensions that follow from others", expression),
			"inputs": mapping("what an input holds", text("values, packed, scales, weights, scores, index(n), below(n)")),
			"attrs":  mapping("values to try of an attribute without a list", list("", &jsonschema.Schema{Type: "number"})),
		}),
		"gradient": lines("the gradient of each input, d_INPUT, from those of the results, d_RESULT"),
		"bench": list("calls of real size, for timing", object("", []string{"name"}, map[string]*jsonschema.Schema{
			"name": text("which model's"), "dims": mapping("lengths", &jsonschema.Schema{Type: "integer"}), "types": mapping("element types", text("")),
			"attrs": mapping("attributes", value), "absent": list("optional inputs that are left out", text("")),
			"reads": {Types: []string{"string", "integer"}, Description: "bytes that the call has to read"}})),
	})
	s.Schema = draft
	return s
}
