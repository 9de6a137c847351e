package models

import (
	"bytes"
	"encoding/json"
	"errors"
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
	nulls  map[string]bool // keys whose value is null
	issues *diag.List
}

type field struct {
	raw json.RawMessage
	at  int // offset in text
}

// readJSON parses a file that is one JSON object.
func readJSON(file string, text []byte, issues *diag.List) *fields {
	f := &fields{file: file, text: text, issues: issues}
	var valid json.RawMessage
	if err := json.Unmarshal(text, &valid); err != nil {
		at := len(text)
		if e := (*json.SyntaxError)(nil); errors.As(err, &e) {
			at = max(0, int(e.Offset)-1) // of the byte that does not fit
		}
		issues.Add(diag.Errorf("config/syntax", f.pos(at), "not valid JSON: %v", err))
		return f
	}
	start := skipSpace(text, 0)
	if text[start] != '{' {
		issues.Add(diag.Errorf("config/syntax", f.pos(start), "expected a JSON object"))
		return f
	}
	f.read(start)
	return f
}

// read finds the keys and values of the object that begins at offset at of a text
// that is known to be valid JSON.
func (f *fields) read(at int) {
	f.values = map[string]field{}
	for at = skipSpace(f.text, at+1); f.text[at] != '}'; at = skipSpace(f.text, at) {
		start := at
		at = skipString(f.text, at)
		key := string(f.text[start+1 : at-1])
		if strings.Contains(key, "\\") {
			key = ""
			_ = json.Unmarshal(f.text[start:at], &key) // valid, as was checked
		}
		value := skipSpace(f.text, skipSpace(f.text, at)+1)
		at = skipValue(f.text, value)
		if _, twice := f.values[key]; twice && len(*f.issues) < maxIssues {
			f.issues.Add(diag.Errorf("config/syntax", f.pos(start), "key %q is there twice", f.prefix+key))
		}
		// A null is the same as no value, as None is in Python.
		if raw := f.text[value:at]; raw[0] != 'n' {
			f.values[key] = field{raw, value}
		} else {
			if f.nulls == nil {
				f.nulls = map[string]bool{}
			}
			f.nulls[key] = true
		}
		if at = skipSpace(f.text, at); f.text[at] == ',' {
			at++
		}
	}
}

func skipSpace(text []byte, at int) int {
	for text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r' {
		at++
	}
	return at
}

// skipString returns the offset behind the string that begins at at.
func skipString(text []byte, at int) int {
	for at++; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// endsWord marks the bytes that end a number, true, false or null.
var endsWord = [256]bool{',': true, ':': true, ']': true, '}': true, ' ': true, '\t': true, '\n': true, '\r': true}

// skipValue returns the offset behind the value that begins at at.
func skipValue(text []byte, at int) int {
	for depth := 0; ; {
		switch text[at] {
		case '"':
			at = skipString(text, at)
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		case ',', ':', ' ', '\t', '\n', '\r':
			at++
			continue
		default: // a number or a word
			for !endsWord[text[at]] {
				at++
			}
		}
		if depth == 0 {
			return at
		}
	}
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
	i := diag.Errorf("config/"+code, pos, "%s: %s", strings.TrimSuffix(f.prefix+key, "."), fmt.Sprintf(format, args...))
	f.issues.Add(i)
	return i
}

func (f *fields) has(key string) bool { _, ok := f.values[key]; return ok }

// isNull reports whether a key is there and says null, which a few models must tell from
// no key: a default is taken for that only.
func (f *fields) isNull(key string) bool { return f.nulls[key] }

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

// intOrNone returns an integer from 1 to hi that mlx-lm takes otherwise where the key
// is absent; null, which is None in Python, is 0.
func (f *fields) intOrNone(key string, otherwise, hi int) int {
	if f.nulls[key] {
		return 0
	}
	return f.intOr(key, otherwise, 1, hi)
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

// numberOr returns an optional number that is one in float32 too.
func (f *fields) numberOr(key string, otherwise float64) float64 {
	if !f.has(key) {
		return otherwise
	}
	v, err := strconv.ParseFloat(string(f.values[key].raw), 64)
	if err != nil || math.IsInf(float64(float32(v)), 0) {
		f.fail(key, "invalid", "must be a number, not %s", f.raw(key))
		return otherwise
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
	o := &fields{file: f.file, text: f.text, prefix: f.prefix + key + ".", issues: f.issues}
	o.read(v.at)
	return o
}
