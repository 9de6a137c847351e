package chattemplate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zmlx-rewrite/diag"
)

// TestRefuses: what Jinja2 renders and this package does not is an error with a
// code and the line, never another text.
func TestRefuses(t *testing.T) {
	for _, c := range []struct{ src, code, want string }{
		{"\n{% include 'x' %}", "template/unsupported", "t:2: tag {% include %}"},
		{"{% call f() %}{% endcall %}", "template/unsupported", "tag {% call %}"},
		{"{% with a = 1 %}{% endwith %}", "template/unsupported", "tag {% with %}"},
		{"{% for x in [] recursive %}{% endfor %}", "template/unsupported", "recursive"},
		{"a\nb {{ x\n| urlize }}", "template/unsupported", `t:3: filter "urlize"`},
		{"{{ x is sameas x }}", "template/unsupported", `test "sameas"`},
		{"{{ 2 ** 3 }}", "template/unsupported", "operator **"},
		{"{{ f(*x) }}", "template/unsupported", "* in a call"},
		{"{{ x[1, 2] }}", "template/unsupported", "more than one index"},
		{"{{ ''.zfill(3) }}", "template/unsupported", `method "zfill" of a str`},
		{"{{ [].append(1) }}", "template/unsupported", `method "append" of a list`},
		{"{{ ''.__class__.__mro__ }}", "template/unsupported", `attribute "__class__"`},
		{"{{ {}.__init__ }}", "template/unsupported", `attribute "__init__"`},
		{"{{ namespace }}", "template/unsupported", "printing a function"},
		{"{{ namespace(a=1) }}", "template/unsupported", "printing a Namespace"},
		{"{{ {}.items() }}", "template/unsupported", "printing a dict view"},
		{"{{ [1] | map('string') }}", "template/unsupported", "printing a generator"},
		{"{{ {1: 2} }}", "template/unsupported", "key of a dict"},
		{"{{ 'ß'.upper() }}", "template/unsupported", "upper case"},
		{"{{ 'ΑΣ' | lower }}", "template/unsupported", "lower case"},
		{"{{ 'é'.title() }}", "template/unsupported", "title"},
		{"{{ '%s' % 1 }}", "template/unsupported", "formatting with %"},
		{"{{ '{:>3}'.format(1) }}", "template/unsupported", "format field {:>3}"},
		{"{{ 9223372036854775807 + 1 }}", "template/unsupported", "64 bits"},
		{"{{ -9223372036854775807 - 2 }}", "template/unsupported", "64 bits"},
		{"{{ 4611686018427387904 * 2 }}", "template/unsupported", "64 bits"},
		{"{{ 7.5 // 2 }}", "template/unsupported", "operator //"},
		{"{{ strftime_now('%U') }}", "template/unsupported", "%U"},
		{"{{ joiner(',') }}", "template/unsupported", `"joiner"`},
		{"{{ 'a' | safe | trim }}", "template/unsupported", `filter "trim" after safe`},
		{"{{ loop.cycle(1) }}{% for x in [1] %}{{ loop.cycle(1) }}{% endfor %}", "template/type", "variable loop"},
		{"{% for x in [1] %}{{ loop.cycle(1) }}{% endfor %}", "template/unsupported", "loop.cycle"},
		{"{{ raise_exception('only\\nuser') }}", "template/raised", "only\nuser"},
		{"{{ a.b.c }}", "template/type", "variable a, which is not defined, has no attribute"},
		{"{% if %}", "template/syntax", "expected a value"},
		{"{{ 99999999999999999999 }}", "template/syntax", "too large"},
	} {
		tmpl, err := Parse("t", c.src)
		if err == nil {
			var out string
			if out, err = tmpl.Render(nil, nil, false, nil); err == nil {
				t.Errorf("%q is rendered: %q", c.src, out)
				continue
			}
		}
		var issue *diag.Issue
		if !errors.As(err, &issue) || issue.Code != c.code || !strings.Contains(err.Error(), c.want) || issue.Pos.Line == 0 || issue.Hint == "" {
			t.Errorf("%q: %v\nwant %s, %q, a line and a hint", c.src, err, c.code, c.want)
		}
	}
}

// TestLimits: templates that are made to take time, memory or stack end soon.
func TestLimits(t *testing.T) {
	deep := func(open, mid, end string, n int) string {
		return strings.Repeat(open, n) + mid + strings.Repeat(end, n)
	}
	for name, src := range map[string]string{
		"loops":        deep("{% for x in range(90000) %}", "", "{% endfor %}", 4),
		"doubling":     "{% set ns = namespace(s='ab') %}{% for x in range(90000) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
		"repeat":       "{{ 'ab' * 4611686018427387904 }}",
		"lists":        "{% set ns = namespace(s=[1]) %}{% for x in range(90000) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"output":       "{% for x in range(90000) %}{{ '" + strings.Repeat("x", 9000) + "' }}{% endfor %}",
		"recursion":    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
		"two ways":     "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
		"replace":      "{% set a = 'a' * 90000 %}{{ a.replace('a', a) }}",
		"empty split":  "{% set a = ',' * 1000000 %}{% for x in range(90000) %}{% set b = a.split(',') %}{% endfor %}",
		"join":         "{% set a = 'a' * 90000 %}{{ range(90000) | join(a) }}",
		"indent":       "{{ ('a\n' * 90000) | indent(90000) }}",
		"width":        "{{ 'a' | indent(4611686018427387904) }}",
		"json indent":  "{{ [1] | tojson(indent=4611686018427387904) }}",
		"json":         "{% set ns = namespace(s=[]) %}{% for x in range(150) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}",
		"deep value":   "{% set ns = namespace(s=[]) %}{% for x in range(90000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
		"deep equal":   "{% set ns = namespace(s=[], u=[]) %}{% for x in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.u = [ns.u, ns.u] %}{% endfor %}{{ ns.s == ns.u }}",
		"contains":     "{% set a = 'a' * 4000000 %}{% for x in range(90000) %}{{ 'b' in a }}{% endfor %}",
		"format":       "{{ ('{0}' * 90000).format('a' * 90000) }}",
		"brackets":     "{{ " + deep("(", "1", ")", 100000) + " }}",
		"lists nested": "{{ " + deep("[", "1", "]", 100000) + " }}",
		"minus":        "{{ " + strings.Repeat("-", 100000) + "1 }}",
		"not":          "{{ " + strings.Repeat("not ", 100000) + "1 }}",
		"plus":         "{{ 1" + strings.Repeat("+1", 100000) + " }}",
		"attributes":   "{{ a" + strings.Repeat(".a", 100000) + " }}",
		"filters":      "{{ a" + strings.Repeat("|trim", 100000) + " }}",
		"ifs":          deep("{% if 1 %}", "", "{% endif %}", 50000),
		"elifs":        "{% if 0 %}" + strings.Repeat("{% elif 0 %}", 50000) + "{% endif %}",
		"else":         "{{ 1 " + strings.Repeat("if 0 else 1 ", 50000) + " }}",
		"size":         strings.Repeat("x", maxTemplate+1),
	} {
		start := time.Now()
		tmpl, err := Parse("t", src)
		if err == nil {
			_, err = tmpl.Render(nil, nil, false, nil)
		}
		var issue *diag.Issue
		if !errors.As(err, &issue) || issue.Code != "template/limit" {
			t.Errorf("%s: %v; want template/limit", name, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: took %v", name, took)
		} else if took > time.Second {
			t.Logf("%s: took %v", name, took)
		}
	}
}

func TestData(t *testing.T) {
	tmpl, err := Parse("t", "{{ x | tojson }} {{ messages[0] | tojson }} {{ tools }}")
	if err != nil {
		t.Fatal(err)
	}
	v, err := DecodeJSON("j", []byte(`{"z": 1, "a": [1.0, -0, "é", null, {"b": false}], "z": 2}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Render([]*Dict{Message("user", "hi")}, nil, false, map[string]any{"x": []any{v, map[string]any{"q": 1, "b": int64(2)}, NewDict("k", 2.5)}})
	want := `[{"z": 2, "a": [1.0, 0, "é", null, {"b": false}]}, {"b": 2, "q": 1}, {"k": 2.5}] {"role": "user", "content": "hi"} None`
	if err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	if _, err := tmpl.Render(nil, nil, false, map[string]any{"x": struct{}{}}); err == nil {
		t.Error("a struct is taken")
	}
	for _, bad := range []string{"", "{", "[1,", `{"a"}`, "1 2", "[1]]", "nul", "\"\xff\"", strings.Repeat("[", 100000), "1e999", "99999999999999999999"} {
		if v, err := DecodeJSON("j", []byte(bad)); err == nil {
			t.Errorf("%.20q is read as %v", bad, v)
		}
	}
}
