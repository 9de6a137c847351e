package models

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
)

// fields is a JSON object whose values are asked for by key and type. Every
// problem becomes an issue that names the key and the line; the reader gets a
// harmless value and goes on, so that one run reports them all.
type fields struct {
	file   string
	text   []byte // the whole file
	prefix string // of keys in messages: "rope_scaling."
	values map[string]field
	issues *diag.List
}

type field struct {
	raw json.RawMessage
	at  int // offset in text
}

// readFields parses a JSON object that begins at offset base of text. A null is
// the same as no value, as None is in Python.
func readFields(file string, text []byte, base int, raw []byte, prefix string, issues *diag.List) *fields {
	f := &fields{file: file, text: text, prefix: prefix, values: map[string]field{}, issues: issues}
	syntax := func(offset int, format string, args ...any) {
		issues.Add(diag.Errorf("config/syntax", f.pos(base+offset), format, args...))
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		syntax(0, "expected a JSON object")
		return f
	}
	for dec.More() {
		key, err := dec.Token()
		at := int(dec.InputOffset())
		var v json.RawMessage
		if err == nil {
			err = dec.Decode(&v)
		}
		if err != nil {
			syntax(int(dec.InputOffset()), "not valid JSON: %v", err)
			return f
		}
		name := key.(string) // the decoder allows no other key
		if _, twice := f.values[name]; twice {
			syntax(at, "key %q is there twice", prefix+name)
		}
		if string(v) != "null" {
			f.values[name] = field{v, base + int(dec.InputOffset()) - len(v)}
		}
	}
	if _, err := dec.Token(); err != nil {
		syntax(int(dec.InputOffset()), "not valid JSON: %v", err)
	} else if rest := bytes.TrimSpace(raw[dec.InputOffset():]); len(rest) > 0 {
		syntax(int(dec.InputOffset()), "something follows the JSON object")
	}
	return f
}

func (f *fields) pos(offset int) diag.Pos {
	offset = min(offset, len(f.text))
	return diag.Pos{File: f.file, Line: 1 + bytes.Count(f.text[:offset], []byte{'\n'}), Col: offset - bytes.LastIndexByte(f.text[:offset], '\n')}
}

// maxIssues ends the reporting of a file that is wrong all over.
const maxIssues = 100

// fail reports a problem with the value of a key.
func (f *fields) fail(key, code, format string, args ...any) *diag.Issue {
	if len(*f.issues) >= maxIssues {
		return &diag.Issue{}
	}
	pos := diag.Pos{File: f.file}
	if v, ok := f.values[key]; ok {
		pos = f.pos(v.at)
	}
	i := diag.Errorf("config/"+code, pos, "%s: %s", f.prefix+key, fmt.Sprintf(format, args...))
	f.issues.Add(i)
	return i
}

func (f *fields) has(key string) bool { _, ok := f.values[key]; return ok }

// raw returns the text of a value for messages, shortened.
func (f *fields) raw(key string) string {
	s := string(f.values[key].raw)
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}

// missing reports a required key that is not there.
func (f *fields) missing(key string) bool {
	if f.has(key) {
		return false
	}
	f.fail(key, "missing", "the key is missing").WithHint("add it, or take config.json from the model's own repository")
	return true
}

// int returns a required integer from lo to hi.
func (f *fields) int(key string, lo, hi int) int {
	if f.missing(key) {
		return lo
	}
	n, err := strconv.Atoi(string(f.values[key].raw))
	if err != nil || n < lo || n > hi {
		f.fail(key, "invalid", "must be a whole number from %d to %d, not %s", lo, hi, f.raw(key))
		return lo
	}
	return n
}

// intOr returns an optional integer.
func (f *fields) intOr(key string, otherwise, lo, hi int) int {
	if !f.has(key) {
		return otherwise
	}
	return f.int(key, lo, hi)
}

// positive returns a required number above 0 that is one in float32 too, which is
// what kernels get.
func (f *fields) positive(key string) float64 {
	if f.missing(key) {
		return 1
	}
	v, err := strconv.ParseFloat(string(f.values[key].raw), 64)
	if err != nil || !(float32(v) > 0) || math.IsInf(float64(float32(v)), 0) {
		f.fail(key, "invalid", "must be a number above 0, not %s", f.raw(key))
		return 1
	}
	return v
}

func (f *fields) positiveOr(key string, otherwise float64) float64 {
	if !f.has(key) {
		return otherwise
	}
	return f.positive(key)
}

func (f *fields) bool(key string) bool {
	return !f.missing(key) && f.boolOr(key, false)
}

func (f *fields) boolOr(key string, otherwise bool) bool {
	if !f.has(key) {
		return otherwise
	}
	switch string(f.values[key].raw) {
	case "true":
		return true
	case "false":
		return false
	}
	f.fail(key, "invalid", "must be true or false, not %s", f.raw(key))
	return otherwise
}

// textOr returns an optional string.
func (f *fields) textOr(key, otherwise string) string {
	if !f.has(key) {
		return otherwise
	}
	var s string
	if json.Unmarshal(f.values[key].raw, &s) != nil {
		f.fail(key, "invalid", "must be text, not %s", f.raw(key))
		return otherwise
	}
	return s
}

// ints returns a list of integers, nil if absent. A single number is a list of one.
func (f *fields) ints(key string) []int {
	if !f.has(key) {
		return nil
	}
	raw := f.values[key].raw
	if raw[0] != '[' {
		raw = slices.Concat([]byte{'['}, raw, []byte{']'})
	}
	var list []int
	if json.Unmarshal(raw, &list) != nil {
		f.fail(key, "invalid", "must be whole numbers, not %s", f.raw(key))
		return nil
	}
	return list
}

// texts returns a list of strings, nil if absent.
func (f *fields) texts(key string) []string {
	if !f.has(key) {
		return nil
	}
	var list []string
	if json.Unmarshal(f.values[key].raw, &list) != nil {
		f.fail(key, "invalid", "must be a list of text, not %s", f.raw(key))
	}
	return list
}

// object returns a nested object, nil if absent.
func (f *fields) object(key string) *fields {
	v, ok := f.values[key]
	if !ok {
		return nil
	}
	if v.raw[0] != '{' {
		f.fail(key, "invalid", "must be an object, not %s", f.raw(key))
		return nil
	}
	return readFields(f.file, f.text, v.at, v.raw, f.prefix+key+".", f.issues)
}
