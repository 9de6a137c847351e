package chattemplate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"zmlx-rewrite/diag"
)

// Dict is a mapping that keeps the order of its keys, as Python's dict does: the
// order of keys in a tool's JSON schema is part of the prompt.
type Dict struct {
	keys []string
	vals map[string]any
}

// NewDict returns a mapping of keys and values in turn: NewDict("role", "user").
// It panics if a key is not a string.
func NewDict(pairs ...any) *Dict {
	d := &Dict{vals: make(map[string]any, len(pairs)/2)}
	for i := 0; i+1 < len(pairs); i += 2 {
		d.Set(pairs[i].(string), pairs[i+1])
	}
	return d
}

// Message returns a message of a chat.
func Message(role, content string) *Dict { return NewDict("role", role, "content", content) }

// Set sets the value of a key; a new key comes last.
func (d *Dict) Set(key string, value any) {
	if d.vals == nil {
		d.vals = map[string]any{}
	}
	if _, ok := d.vals[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.vals[key] = value
}

// Get returns the value of a key, and whether it is there.
func (d *Dict) Get(key string) (any, bool) {
	v, ok := d.vals[key]
	return v, ok
}

// Keys returns the keys in order.
func (d *Dict) Keys() []string { return slices.Clone(d.keys) }

// Len returns the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// DecodeJSON reads one JSON value for Render: objects become *Dict, in order, and
// numbers stay whole if they are written so. name stands for data in messages.
func DecodeJSON(name string, data []byte) (any, error) {
	bad := func(at int64, err error) error {
		return diag.Errorf("template/data", diag.At(name, at), "not valid JSON: %v", err).WithHint("correct the JSON")
	}
	if !utf8.Valid(data) {
		return nil, bad(0, errors.New("it is not UTF-8 text"))
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decode(dec, 0)
	if err == nil {
		if _, err = dec.Token(); err == nil {
			err = errors.New("there is more after the first value")
		} else if errors.Is(err, io.EOF) {
			return v, nil
		}
	}
	return nil, bad(dec.InputOffset(), err)
}

func decode(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch tok := tok.(type) {
	case json.Number:
		if strings.ContainsAny(string(tok), ".eE") {
			return tok.Float64()
		}
		n, err := strconv.Atoi(string(tok))
		return n, err
	case json.Delim:
		if tok == '[' {
			list := []any{}
			for dec.More() {
				v, err := decode(dec, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := dec.Token()
			return list, err
		}
		d := NewDict()
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := decode(dec, depth+1)
			if err != nil {
				return nil, err
			}
			d.Set(key.(string), v) // the decoder has checked that it is one
		}
		_, err := dec.Token()
		return d, err
	}
	return tok, nil
}
