package chattemplate

import (
	"strings"
	"time"

	"zmlx-rewrite/diag"
)

// Limits of a rendering. They grow with the template and the values it is given.
const (
	maxSteps    = 4 << 20  // evaluated expressions and statements, plus 64 for each byte given
	maxBytes    = 16 << 20 // of all strings and lists made on the way, plus 64 for each byte given
	maxDepth    = 200      // nesting of blocks, expressions and values
	maxStack    = 4000     // evaluations inside evaluations, macro calls included
	maxTemplate = 1 << 20  // bytes of a template; the longest real one has 30 KB
)

// Template is a parsed template. It does not change; several goroutines may use it.
type Template struct {
	name string
	size int
	body []stmt
	now  func() time.Time // what strftime_now prints
}

// Parse parses a template; name stands for it in messages.
func Parse(name, src string) (t *Template, err error) {
	if len(src) > maxTemplate {
		return nil, diag.Errorf("template/limit", diag.Pos{File: name}, "the template has %d bytes, more than %d", len(src), maxTemplate).
			WithHint("no model needs a template of that size: the file is damaged")
	}
	defer catch(&err)
	p := &parser{name: name, tokens: lex(name, src)}
	return &Template{name: name, size: len(src), body: p.template(), now: time.Now}, nil
}

// Render returns the prompt for messages. A nil tools is Python's None. extra holds
// more variables: "bos_token", "enable_thinking".
//
// Values are nil, bool, int, int64, float64, string, []any, *Dict, []*Dict and
// map[string]any, whose keys are taken in sorted order.
func (t *Template) Render(messages, tools []*Dict, addGenerationPrompt bool, extra map[string]any) (out string, err error) {
	defer catch(&err)
	m := &machine{name: t.name, now: t.now}
	globals := map[string]any{}
	for _, name := range sortedKeys(extra) {
		globals[name] = m.fromGo(extra[name], 0)
	}
	globals["messages"] = m.fromGo(messages, 0)
	globals["tools"], globals["documents"] = nil, nil // as transformers: there, and None
	if tools != nil {
		globals["tools"] = m.fromGo(tools, 0)
	}
	if extra["documents"] != nil {
		globals["documents"] = m.fromGo(extra["documents"], 0)
	}
	globals["add_generation_prompt"] = addGenerationPrompt
	given := t.size + m.bytes
	m.bytes, m.byteLimit, m.stepLimit = 0, maxBytes+64*given, maxSteps+64*given
	var b strings.Builder
	m.run(t.body, &scope{vars: globals}, &b)
	return b.String(), nil
}

// catch turns the panic of fail into an error. Both the parser and the machine
// are recursive; an error result at every step would hide what they do.
func catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case *diag.Issue:
		*err = r
	default:
		panic(r)
	}
}

// fail ends parsing or rendering.
func fail(name string, line int, code, hint, format string, args ...any) {
	i := diag.Errorf(code, diag.Pos{File: name, Line: line}, format, args...)
	i.Hint = hint
	panic(i)
}

const hintReport = "only the part of Jinja2 that chat templates use is known: pass another template, or the prompt as plain text"
