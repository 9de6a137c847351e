package chattemplate

import (
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzRender: no template makes the parser or the machine crash, hang or print
// more than the limits allow.
func FuzzRender(f *testing.F) {
	cases := decodeFile(f, "features.json").(*Dict).vals["cases"].([]any)
	for _, c := range cases {
		f.Add(c.(*Dict).vals["template"].(string))
	}
	for _, name := range []string{"smollm2", "qwen2.5", "qwen3"} {
		f.Add(string(read(f, name+".jinja")))
	}
	vars := decodeFile(f, "features.json").(*Dict).vals["vars"].(*Dict)
	f.Fuzz(func(t *testing.T, src string) {
		start := time.Now()
		tmpl, err := Parse("t", src)
		if err != nil {
			return
		}
		out, err := render(tmpl, vars)
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("took %v (%v)", took, err)
		}
		if len(out) > maxBytes+64*(len(src)+10000) {
			t.Fatalf("%d bytes are printed", len(out))
		}
		if utf8.ValidString(src) && !utf8.ValidString(out) {
			t.Fatalf("%q is not UTF-8", out)
		}
	})
}

// FuzzDecodeJSON: what is read can be given to a template, which prints JSON that
// reads back as the same.
func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,true,null,"é\n😀"],"b":{}}`, `[]`, `"x"`, `-0`, `1e300`, `{"":[[[]]]}`} {
		f.Add([]byte(s))
	}
	tmpl, err := Parse("t", "{{ x | tojson }}")
	if err != nil {
		f.Fatal(err)
	}
	dumps := func(t *testing.T, v any) string {
		out, err := tmpl.Render(nil, nil, false, map[string]any{"x": v})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := DecodeJSON("j", data)
		if err != nil {
			return
		}
		first := dumps(t, v)
		v, err = DecodeJSON("j", []byte(first))
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second := dumps(t, v); second != first {
			t.Fatalf("%s becomes %s", first, second)
		}
	})
}
