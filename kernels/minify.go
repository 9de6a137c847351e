package kernels

import (
	"regexp"
	"slices"
	"strings"
)

// Minify takes out of a kernel's text what its compiler would skip or never use:
// comments, indentation, #line, branches for other targets, and declarations of the header
// that nothing reads. MLX hashes the whole text at every launch, which for 20 kB takes a
// good part of the time that a small kernel runs.
func (g *GPU) Minify(target Target) {
	g.Body = minify(g.Body, target)
	g.Header = prune(minify(g.Header, target), g.Body)
}

func minify(text string, target Target) string {
	var b strings.Builder
	for _, line := range branches(strings.Split(comments.ReplaceAllString(text, ""), "\n"), target) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#line ") {
			continue
		}
		if rest, more := strings.CutSuffix(line, "\\"); more {
			line = strings.TrimSpace(rest) + " \\"
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}

var targetMacro = regexp.MustCompile(`^\s*#(?:if|elif) ZMLX_(HOST|CUDA|METAL|OPENCL)\s*$`)

// branches decides "#if ZMLX_CUDA" and the like; other conditions stay.
func branches(lines []string, target Target) []string {
	type level struct{ ours, taken, live bool } // ours: decided here
	stack := []level{{live: true}}
	var out []string
	for _, line := range lines {
		top := &stack[len(stack)-1]
		word := strings.TrimSpace(line)
		m := targetMacro.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(word, "#if"):
			next := level{live: top.live}
			if m != nil {
				yes := strings.EqualFold(m[1], string(target))
				next = level{true, yes, top.live && yes}
			} else if top.live {
				out = append(out, line)
			}
			stack = append(stack, next)
			continue
		case top.ours && strings.HasPrefix(word, "#elif") && m != nil:
			yes := !top.taken && strings.EqualFold(m[1], string(target))
			top.live, top.taken = stack[len(stack)-2].live && yes, top.taken || yes
			continue
		case top.ours && strings.HasPrefix(word, "#else"):
			top.live = stack[len(stack)-2].live && !top.taken
			continue
		case strings.HasPrefix(word, "#endif"):
			stack = stack[:len(stack)-1]
			if !top.ours && top.live {
				out = append(out, line)
			}
			continue
		}
		if top.live {
			out = append(out, line)
		}
	}
	return out
}

// item is a declaration of a header: a function, type, macro or using, or a line that
// opens or closes a namespace.
type item struct {
	text  string
	names []string // what it declares; none for what is kept whatever happens
}

var (
	identifier  = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)
	macroName   = regexp.MustCompile(`^#define ([A-Za-z_][A-Za-z0-9_]*)`)
	typeName    = regexp.MustCompile(`^(?:template <[^{]*> *)?(?:struct|enum class) (?:__align__\(\d+\) )?([A-Za-z_][A-Za-z0-9_]*)`)
	functName   = regexp.MustCompile(`^(?:template <.*?> *)?(?:inline |static |METAL_FUNC )+[^(]*?([A-Za-z_][A-Za-z0-9_]*)\(`)
	typedefName = regexp.MustCompile(`^typedef [^;]*?([A-Za-z_][A-Za-z0-9_]*);$`)
	usingName   = regexp.MustCompile(`^using [A-Za-z_:]*::([A-Za-z_][A-Za-z0-9_]*);$`)
)

// prune drops what a body does not reach. A name that is declared several times is one:
// all of its declarations stay or go.
func prune(header, body string) string {
	items := split(header)
	used := map[string]bool{}
	var todo []string
	read := func(text string, not []string) {
		for _, name := range identifier.FindAllString(text, -1) {
			if !used[name] && !slices.Contains(not, name) {
				used[name] = true
				todo = append(todo, name)
			}
		}
	}
	byName := map[string][]int{}
	read(body, nil)
	for i, it := range items {
		if len(it.names) == 0 {
			read(it.text, nil)
		}
		for _, n := range it.names {
			byName[n] = append(byName[n], i)
		}
	}
	keep := make([]bool, len(items))
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, i := range byName[name] {
			if !keep[i] {
				keep[i] = true
				read(items[i].text, nil)
			}
		}
	}
	var b strings.Builder
	for i, it := range items {
		if len(it.names) == 0 || keep[i] {
			b.WriteString(it.text)
		}
	}
	return b.String()
}

// split cuts a minified header into items. Whatever is not understood is an item of its own
// that stays.
func split(header string) []item {
	var items []item
	lines := strings.SplitAfter(header, "\n")
	for i := 0; i < len(lines); {
		start, depth := i, 0
		first := strings.TrimSpace(lines[i])
		if strings.HasPrefix(first, "#") {
			for strings.HasSuffix(strings.TrimRight(lines[i], "\n"), "\\") && i+1 < len(lines) {
				i++
			}
			i++
			items = append(items, named(first, strings.Join(lines[start:i], "")))
			continue
		}
		if first == "" || first == "}" || strings.HasPrefix(first, "namespace ") {
			i++
			items = append(items, item{text: lines[start]})
			continue
		}
		for i < len(lines) {
			depth += strings.Count(lines[i], "{") - strings.Count(lines[i], "}")
			end := strings.TrimSpace(lines[i])
			i++
			if depth <= 0 && (strings.HasSuffix(end, "}") || strings.HasSuffix(end, ";") || strings.HasSuffix(end, ")") && !strings.Contains(end, "{")) {
				// A head such as "template <typename T>" goes on in the next line.
				break
			}
		}
		text := strings.Join(lines[start:i], "")
		items = append(items, named(strings.ReplaceAll(strings.TrimSpace(text), "\n", " "), text))
	}
	return items
}

func named(line, text string) item {
	for _, form := range []*regexp.Regexp{macroName, typeName, typedefName, usingName, functName} {
		if m := form.FindStringSubmatch(line); m != nil && m[1] != "operator" {
			return item{text, m[1:]}
		}
	}
	return item{text: text}
}
