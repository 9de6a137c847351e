// Package schema makes the JSON Schemas of files that the project writes and reads: of
// capsules and ledgers. Objects may have fields that are not listed, since later versions may
// add some, and lists are written as such, never as null.
package schema

import (
	"encoding/json"

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
