// Package schema makes the JSON Schemas of what the project writes, from Go's types. Lists are
// written as such, never as null. Files that the project reads as well, capsules and ledgers,
// may have fields that are not listed, since later versions may add some (For). What commands
// print is exactly what this version prints (Closed).
package schema

import (
	"encoding/json"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
)

// For is the schema of a type. What it cannot say is added by the caller.
func For[T any](title string) *jsonschema.Schema {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		panic(err) // it is a constant
	}
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", title
	open(s)
	return s
}

// Closed is the schema of a type that has no other fields. What may be left out is never null.
func Closed[T any](title string, o *jsonschema.ForOptions) *jsonschema.Schema {
	s, err := jsonschema.For[T](o)
	if err != nil {
		panic(err) // it is a constant
	}
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", title
	strict(s)
	return s
}

func strict(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Items != nil {
		noNull(s)
	}
	strict(s.Items)
	strict(s.AdditionalProperties)
	for name, p := range s.Properties {
		if !slices.Contains(s.Required, name) {
			noNull(p)
		}
		strict(p)
	}
}

// noNull takes null from what a value may be.
func noNull(s *jsonschema.Schema) {
	if i := slices.Index(s.Types, "null"); i >= 0 && len(s.Types) == 2 {
		s.Type, s.Types = s.Types[1-i], nil
	}
}

func open(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Properties != nil {
		s.AdditionalProperties = nil
	}
	if s.Items != nil {
		s.Type, s.Types = "array", nil
	}
	open(s.Items)
	for _, p := range s.Properties {
		open(p)
	}
}

// Text is a schema as people and editors read it.
func Text(s *jsonschema.Schema) []byte {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // it is a constant
	}
	return append(data, '\n')
}

// Resolve makes a schema ready to hold values against.
func Resolve(s *jsonschema.Schema) *jsonschema.Resolved {
	r, err := s.Resolve(nil)
	if err != nil {
		panic(err) // it is a constant
	}
	return r
}
