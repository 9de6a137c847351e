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
	for _, line := range branches(strings.Split(comments.ReplaceAllString(text, " "), "\n"), target) {
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

var (
	targetMacro = regexp.MustCompile(`^\s*#\s*(?:if|elif)\s+ZMLX_(HOST|CUDA|METAL|OPENCL)\s*$`)
	directive   = regexp.MustCompile(`^\s*#\s*([a-z]+)`)
)

// branches decides "#if ZMLX_CUDA" and the like; other conditions stay, and all do where one
// has no end or no beginning.
func branches(lines []string, target Target) []string {
	type level struct{ ours, taken, live bool } // ours: decided here
	stack := []level{{live: true}}
	var out []string
	for at, line := range lines {
		top := &stack[len(stack)-1]
		word := ""
		if m := directive.FindStringSubmatch(line); m != nil {
			word = m[1]
		}
		m := targetMacro.FindStringSubmatch(line)
		switch {
		case word == "if" || word == "ifdef" || word == "ifndef":
			next := level{live: top.live}
			if m != nil && decidable(lines[at+1:]) {
				yes := strings.EqualFold(m[1], string(target))
				next = level{true, yes, top.live && yes}
			} else if top.live {
				out = append(out, line)
			}
			stack = append(stack, next)
			continue
		case top.ours && word == "elif":
			yes := !top.taken && strings.EqualFold(m[1], string(target))
			top.live, top.taken = stack[len(stack)-2].live && yes, top.taken || yes
			continue
		case top.ours && word == "else":
			top.live = stack[len(stack)-2].live && !top.taken
			continue
		case word == "endif":
			if len(stack) == 1 {
				return lines
			}
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
	if len(stack) > 1 {
		return lines
	}
	return out
}

// decidable reports whether the branches of an #if, which begin with these lines, are for
// targets alone.
func decidable(lines []string) bool {
	depth := 0
	for _, line := range lines {
		m := directive.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		switch m[1] {
		case "if", "ifdef", "ifndef":
			depth++
		case "endif":
			if depth--; depth < 0 {
				return true
			}
		case "elif", "elifdef", "elifndef":
			if depth == 0 && !targetMacro.MatchString(line) {
				return false
			}
		}
	}
	return false
}

// item is a declaration of a header: a function, type, macro or using, or a line that
// opens or closes a namespace.
type item struct {
	text  string
	names []string // what it declares; none for what is kept whatever happens
}

var (
	identifier  = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)
	macroName   = regexp.MustCompile(`^#\s*define ([A-Za-z_][A-Za-z0-9_]*)`)
	typeName    = regexp.MustCompile(`^(?:template <[^{]*> *)?(?:struct|enum class) (?:__align__\(\d+\) )?([A-Za-z_][A-Za-z0-9_]*)\s*(?:<[^{;(]*>)?\s*[{;:]`)
	functName   = regexp.MustCompile(`^(?:template <.*?> *)?(?:inline |static |METAL_FUNC )+[^(={]*?([A-Za-z_][A-Za-z0-9_]*)\(`)
	typedefName = regexp.MustCompile(`^typedef [^;]*?([A-Za-z_][A-Za-z0-9_]*);$`)
	usingName   = regexp.MustCompile(`^using [A-Za-z_:]*::([A-Za-z_][A-Za-z0-9_]*);$`)
	macroCall   = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*\(.*\)$`)
	pastes      = regexp.MustCompile(`##`)
)

// prune drops what a body does not reach. A name that is declared several times is one:
// all of its declarations stay or go. A header that makes names with ##, or whose braces do
// not match, stays as it is.
func prune(header, body string) string {
	items, whole := split(header)
	if !whole || pastes.MatchString(header) || pastes.MatchString(body) {
		return header
	}
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
// that stays. It reports whether all braces and conditions match.
func split(header string) ([]item, bool) {
	var items []item
	lines := strings.SplitAfter(header, "\n")
	spaces := 0 // namespaces that are open
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
			spaces += strings.Count(first, "{") - strings.Count(first, "}")
			if spaces < 0 {
				return nil, false
			}
			i++
			items = append(items, item{text: lines[start]})
			continue
		}
		conditions := 0
		for i < len(lines) {
			depth += strings.Count(lines[i], "{") - strings.Count(lines[i], "}")
			end := strings.TrimSpace(lines[i])
			if m := directive.FindStringSubmatch(end); m != nil {
				switch m[1] {
				case "if", "ifdef", "ifndef":
					conditions++
				case "endif":
					conditions--
				}
			}
			i++
			// A head such as "template <typename T>" goes on in the next line, and so does one
			// of a function whose { stands there.
			if depth <= 0 && (strings.HasSuffix(end, "}") || strings.HasSuffix(end, ";") ||
				macroCall.MatchString(end) && i == start+1 && !(i < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[i]), "{"))) {
				break
			}
		}
		if depth != 0 || conditions != 0 {
			return nil, false
		}
		text := strings.Join(lines[start:i], "")
		items = append(items, named(strings.ReplaceAll(strings.TrimSpace(text), "\n", " "), text))
	}
	return items, spaces == 0
}

// named finds what an item declares: one thing, or the item stays.
func named(line, text string) item {
	if m := macroName.FindStringSubmatch(line); m != nil {
		return item{text, m[1:]}
	}
	if strings.HasPrefix(line, "#") || strings.Contains(text, "\n#define") {
		return item{text: text}
	}
	head, rest := declared(line)
	for form, ends := range map[*regexp.Regexp][]string{typeName: {";"}, typedefName: {""}, usingName: {""}, functName: {"", ";"}} {
		m := form.FindStringSubmatch(line)
		if m == nil || !slices.Contains(ends, rest) || strings.Contains(head, "operator") || strings.HasPrefix(m[1], "__") || m[1] == "alignas" || m[1] == "decltype" {
			continue
		}
		return item{text, m[1:]}
	}
	return item{text: text}
}

// declared takes a declaration apart: what is in front of its braces, and what behind
// them. "?" is for more than one declaration.
func declared(line string) (head, rest string) {
	open := strings.Index(line, "{")
	if open < 0 {
		if strings.Index(line, ";") == len(line)-1 {
			if strings.HasPrefix(line, "struct ") || strings.HasPrefix(line, "template ") || strings.HasPrefix(line, "enum ") {
				return line, ";"
			}
			return line, ""
		}
		return line, "?"
	}
	depth := 0
	for i, c := range line[open:] {
		switch c {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return line[:open], strings.TrimSpace(line[open+i+1:])
			}
		}
	}
	return line[:open], "?"
}
