package diag

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Limits for YAML files that people write by hand. A rule file that reaches one
// of them is a mistake or an attack.
const (
	MaxYAMLBytes = 1 << 20
	MaxYAMLDepth = 64
)

// Kind is the kind of a YAML node.
type Kind uint8

const (
	Null Kind = iota
	Scalar
	Seq
	Map
)

func (k Kind) String() string { return [...]string{"null", "scalar", "list", "mapping"}[k] }

// Node is a node of a strict YAML document: no anchors, aliases, explicit tags,
// merge keys, duplicate keys or second documents.
type Node struct {
	Kind  Kind
	Pos   Pos     // of the first character (of the opening quote, if quoted)
	Text  string  // of a scalar, unquoted
	Items []*Node // of a Seq
	Keys  []*Node // of a Map, in file order
	Vals  []*Node // of a Map, beside Keys

	// Broken says that the text of a scalar, or the rest of a Map or Seq, is not here, for an
	// error that was reported.
	Broken bool

	src    *source
	style  yaml.Style
	yamlly string // the tag that YAML resolved: "!!int", "!!str", ...
}

type source struct {
	file  string
	lines []string
}

func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

// ReadYAMLFile reads a file with ReadYAML. The file's name in messages is path.
func ReadYAMLFile(path string) (*Node, List) {
	data, issue := ReadText(path)
	if issue != nil {
		return nil, List{issue}
	}
	return ReadYAML(path, data)
}

// ReadText reads a file that people write by hand. Of what is larger than
// MaxYAMLBytes it reads no more than it takes to see that, so that a device or a
// model given by mistake does no harm.
func ReadText(path string) ([]byte, *Issue) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Errorf("yaml/read", Pos{File: path}, "%s", reason(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxYAMLBytes+1))
	switch {
	case err != nil:
		return nil, Errorf("yaml/read", Pos{File: path}, "%s", reason(err))
	case len(data) > MaxYAMLBytes:
		return nil, Errorf("yaml/too-big", Pos{File: path}, "file is larger than %d bytes", MaxYAMLBytes)
	}
	return data, nil
}

// reason is an error of the file system without the path, which Pos already says.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

var yamlErrLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// ReadYAML parses one strict YAML document and reports every problem it finds.
// The node is nil if the text is not YAML at all.
func ReadYAML(file string, data []byte) (*Node, List) {
	if len(data) > MaxYAMLBytes {
		return nil, List{Errorf("yaml/too-big", Pos{File: file}, "file is larger than %d bytes", MaxYAMLBytes)}
	}
	if !utf8.Valid(data) {
		return nil, List{Errorf("yaml/utf8", Pos{File: file}, "file is not UTF-8 text")}
	}
	if issue := oddBreak(file, data); issue != nil {
		return nil, List{issue}
	}
	src := &source{file: file, lines: strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")}
	// yaml.v3 recurses over flow collections before its own depth check of 10,000
	// nodes; a cheap bracket count refuses such files first.
	if issue := flowDepth(file, data); issue != nil {
		return nil, List{issue}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, List{Errorf("yaml/empty", Pos{File: file}, "file is empty")}
		}
		return nil, List{yamlIssue(src, err)}
	}
	var l List
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		l.Add(Errorf("yaml/documents", Pos{File: file, Line: second.Line, Col: second.Column}, "more than one document in the file").
			WithHint("remove everything from the second `---` on"))
	} else if !errors.Is(err, io.EOF) {
		l.Add(yamlIssue(src, err))
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, append(l, Errorf("yaml/empty", Pos{File: file}, "file is empty"))
	}
	c := converter{src: src, issues: &l}
	return c.node(doc.Content[0], 1), l
}

func yamlIssue(src *source, err error) *Issue {
	pos := Pos{File: src.file}
	msg := err.Error()
	if m := yamlErrLine.FindStringSubmatch(msg); m != nil {
		if m[1] != "" {
			pos.Line, _ = strconv.Atoi(m[1])
			pos.Col = 1
		}
		msg = m[2]
	}
	i := Errorf("yaml/syntax", pos, "not valid YAML: %s", msg)
	i.Source = src.line(pos.Line)
	switch t := strings.TrimSpace(i.Source); {
	case strings.Contains(msg, "could not find expected ':'"), strings.Contains(msg, "did not find expected key"),
		strings.Contains(msg, "cannot start any token"), strings.Contains(msg, "mapping values are not allowed"),
		strings.Contains(msg, "unknown anchor"), strings.Contains(t, ": %"), strings.Contains(t, ": *"), strings.Contains(t, ": !"):
		i.Hint = "an expression that begins with ! % * & \" or holds `: ` must be put in single quotes"
	}
	return i
}

// oddBreak refuses what ends a line for YAML and for no editor: positions would be
// those of other lines.
func oddBreak(file string, data []byte) *Issue {
	line := 1
	for i := 0; i < len(data); i++ {
		rest := data[i:]
		switch {
		case data[i] == '\n':
			line++
		case data[i] == '\r' && !bytes.HasPrefix(rest, []byte("\r\n")),
			bytes.HasPrefix(rest, []byte("\u0085")), bytes.HasPrefix(rest, []byte("\u2028")), bytes.HasPrefix(rest, []byte("\u2029")):
			return Errorf("yaml/line-break", Pos{File: file, Line: line}, "a line break other than a newline (%q)", []rune(string(rest[:min(4, len(rest))]))[0])
		}
	}
	return nil
}

func flowDepth(file string, data []byte) *Issue {
	depth, line := 0, 1
	for _, b := range data {
		switch b {
		case '\n':
			line++
		case '[', '{':
			if depth++; depth > 4*MaxYAMLDepth {
				return Errorf("yaml/too-deep", Pos{File: file, Line: line}, "brackets are nested more than %d deep", 4*MaxYAMLDepth)
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return nil
}

type converter struct {
	src    *source
	issues *List
}

func (c *converter) bad(n *yaml.Node, code, format string, args ...any) *Issue {
	i := Errorf(code, c.pos(n), format, args...)
	i.Source = c.src.line(n.Line)
	c.issues.Add(i)
	return i
}

func (c *converter) pos(n *yaml.Node) Pos { return Pos{File: c.src.file, Line: n.Line, Col: n.Column} }

// comma reports an expression without quotes inside of { } or [ ] that its first comma
// has ended: "add(x" of {y: add(x, z)}.
func (c *converter) comma(in, n *yaml.Node) bool {
	if in.Style&yaml.FlowStyle == 0 || n.Kind != yaml.ScalarNode || n.Style != 0 || strings.Count(n.Value, "(") <= strings.Count(n.Value, ")") {
		return false
	}
	i := c.bad(n, "yaml/comma", "a comma ends %q here", n.Value)
	i.WithHint("inside { } and [ ], an expression with a comma is put in single quotes: '%s, …'", n.Value)
	return true
}

func (c *converter) node(n *yaml.Node, depth int) *Node {
	out := &Node{Pos: c.pos(n), src: c.src, style: n.Style, yamlly: n.ShortTag()}
	if depth > MaxYAMLDepth {
		c.bad(n, "yaml/too-deep", "nested more than %d deep", MaxYAMLDepth)
		return out
	}
	if n.Style&yaml.TaggedStyle != 0 {
		out.Broken = true
		c.bad(n, "yaml/tag", "explicit tag %s", n.Tag).WithHint("to negate, write `not x`, or put the expression in single quotes: '!x'")
	}
	if n.Anchor != "" {
		c.bad(n, "yaml/anchor", "anchor &%s", n.Anchor).WithHint("anchors and aliases are not allowed; use a fragment, or quote the text")
	}
	switch n.Kind {
	case yaml.AliasNode:
		out.Broken = true
		c.bad(n, "yaml/alias", "alias *%s", n.Value).WithHint("anchors and aliases are not allowed; use a fragment, or quote the text")
	case yaml.ScalarNode:
		out.Kind, out.Text = Scalar, n.Value
		if n.ShortTag() == "!!null" {
			out.Kind = Null
		}
	case yaml.SequenceNode:
		out.Kind = Seq
		for _, item := range n.Content {
			out.Items = append(out.Items, c.node(item, depth+1))
			if out.Broken = c.comma(n, item); out.Broken {
				out.Items[len(out.Items)-1].Broken = true
				break
			}
		}
	case yaml.MappingNode:
		out.Kind = Map
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := c.node(n.Content[i], depth+1)
			if k.Kind != Scalar {
				c.bad(n.Content[i], "yaml/key", "a key must be plain text")
				continue
			}
			if k.yamlly == "!!merge" {
				c.bad(n.Content[i], "yaml/key", "merge keys (<<) are not allowed")
				continue
			}
			if line, dup := seen[k.Text]; dup {
				c.bad(n.Content[i], "yaml/duplicate-key", "key %q is there twice, first on line %d", k.Text, line)
				continue
			}
			seen[k.Text] = k.Pos.Line
			if out.Broken = c.comma(n, n.Content[i+1]) || c.comma(n, n.Content[i]); out.Broken {
				break
			}
			out.Keys = append(out.Keys, k)
			out.Vals = append(out.Vals, c.node(n.Content[i+1], depth+1))
		}
	}
	return out
}

// Get returns the value of a key of a Map, or nil.
func (n *Node) Get(key string) *Node {
	for i, k := range n.Keys {
		if k.Text == key {
			return n.Vals[i]
		}
	}
	return nil
}

// Errorf makes an issue at the node, with its source line.
func (n *Node) Errorf(code, format string, args ...any) *Issue {
	i := Errorf(code, n.Pos, format, args...)
	i.Source = n.src.line(n.Pos.Line)
	return i
}

// ErrorfAt makes an issue at a byte offset inside the scalar's Text.
func (n *Node) ErrorfAt(offset int, code, format string, args ...any) *Issue {
	i := Errorf(code, n.PosAt(offset), format, args...)
	i.Source = n.src.line(i.Pos.Line)
	return i
}

// PosAt maps a byte offset in Text to a position in the file. It is exact for
// plain and quoted scalars on one line without escapes and for literal blocks
// (|); for folded text it falls back to the line that holds the offset's words,
// or to the start of the node.
func (n *Node) PosAt(offset int) Pos {
	p := n.Pos
	if n.Kind != Scalar || offset < 0 || offset > len(n.Text) {
		return p
	}
	switch {
	case n.style&yaml.LiteralStyle != 0:
		row := strings.Count(n.Text[:offset], "\n")
		col := offset - (strings.LastIndexByte(n.Text[:offset], '\n') + 1)
		line := n.Pos.Line + 1 + row
		text := n.src.line(line)
		indent := len(text) - len(strings.TrimLeft(text, " "))
		p.Line, p.Col = line, indent+col+1
	case n.style&yaml.FoldedStyle != 0:
		return p
	default:
		lead := 0
		if n.style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			lead = 1
		}
		// A plain scalar may go on over several lines, folded with single spaces:
		// walk the source along with the text.
		line, col := n.Pos.Line, n.Pos.Col-1+lead
		text := n.src.line(line)
		for i := 0; i < offset; i++ {
			if col >= len(strings.TrimRight(text, " \t")) && (n.Text[i] == ' ' || n.Text[i] == '\n') {
				line++
				text = n.src.line(line)
				col = len(text) - len(strings.TrimLeft(text, " \t"))
				continue
			}
			if lead == 1 && n.Text[i] == '\'' && n.style&yaml.SingleQuotedStyle != 0 {
				col++ // '' in single quotes stands for one quote
			}
			col++
		}
		p.Line, p.Col = line, col+1
	}
	return p
}

// Str returns the text of a scalar; anything else is an issue.
func (n *Node) Str() (string, *Issue) {
	if n.Kind != Scalar {
		return "", n.Errorf("yaml/type", "expected text, found a %s", n.Kind)
	}
	return n.Text, nil
}

// Int returns a decimal integer; anything else is an issue.
func (n *Node) Int() (int64, *Issue) {
	if n.Kind == Scalar && n.yamlly == "!!int" {
		if v, err := strconv.ParseInt(n.Text, 10, 64); err == nil {
			return v, nil
		}
	}
	return 0, n.Errorf("yaml/type", "expected a whole number, found %s", n.describe())
}

// Float returns a finite number; anything else is an issue.
func (n *Node) Float() (float64, *Issue) {
	if n.Kind == Scalar && (n.yamlly == "!!int" || n.yamlly == "!!float") {
		if v, err := strconv.ParseFloat(n.Text, 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return v, nil
		}
	}
	return 0, n.Errorf("yaml/type", "expected a number, found %s", n.describe())
}

// Bool returns true or false; anything else is an issue.
func (n *Node) Bool() (bool, *Issue) {
	if n.Kind == Scalar && n.yamlly == "!!bool" && (n.Text == "true" || n.Text == "false") {
		return n.Text == "true", nil
	}
	return false, n.Errorf("yaml/type", "expected true or false, found %s", n.describe())
}

func (n *Node) describe() string {
	if n.Kind == Scalar {
		return fmt.Sprintf("%q", n.Text)
	}
	return "a " + n.Kind.String()
}

// Known reports every key of a Map that is not in the list, with the nearest
// known key as a hint, and an issue if n is no Map.
func (n *Node) Known(code string, keys ...string) List {
	if n.Kind != Map {
		return List{n.Errorf("yaml/type", "expected a mapping, found a %s", n.Kind)}
	}
	var l List
	for _, k := range n.Keys {
		found := false
		for _, want := range keys {
			found = found || k.Text == want
		}
		if !found {
			i := k.Errorf(code, "unknown key %q", k.Text)
			if near := Nearest(k.Text, keys); near != "" {
				i.Hint = fmt.Sprintf("did you mean %q?", near)
			} else {
				i.Hint = "known keys: " + strings.Join(keys, ", ")
			}
			l.Add(i)
		}
	}
	return l
}

// Nearest returns the candidate with the smallest edit distance to s, if that is
// at most a third of its length (at least 2), else "".
func Nearest(s string, candidates []string) string {
	best, bestD := "", max(2, len(s)/3)+1
	for _, c := range candidates {
		if d := editDistance(s, c); d < bestD {
			best, bestD = c, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := prev[0]
		prev[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diag, prev[j] = prev[j], min(prev[j]+1, prev[j-1]+1, diag+cost)
		}
	}
	return prev[len(b)]
}

// FormatVersion is the version of every file format that people write: rules,
// kernels and profiles begin with "zmlx: 1".
const FormatVersion = 1

// CheckVersion checks the key "zmlx" of a file's mapping.
func CheckVersion(root *Node) *Issue {
	n := root.Get("zmlx")
	if n == nil {
		return root.Errorf("file/version", "the file does not say which version of the language it is in").
			WithHint("begin it with the line `zmlx: %d`", FormatVersion)
	}
	v, issue := n.Int()
	if issue != nil {
		return issue
	}
	if v != FormatVersion {
		return n.Errorf("file/version", "the file is in version %d of the language; this program reads version %d", v, FormatVersion)
	}
	return nil
}

// Any returns the node as encoding/json would have read it: what JSON Schemas are
// held against. A number that is not one of JSON's (.inf, .nan) stays text.
func (n *Node) Any() any {
	switch n.Kind {
	case Map:
		m := make(map[string]any, len(n.Keys))
		for i, k := range n.Keys {
			m[k.Text] = n.Vals[i].Any()
		}
		return m
	case Seq:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = item.Any()
		}
		return list
	case Null:
		return nil
	}
	switch n.yamlly {
	case "!!bool":
		return n.Text == "true"
	case "!!int", "!!float":
		if v, err := strconv.ParseFloat(n.Text, 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return v
		}
	}
	return n.Text
}
