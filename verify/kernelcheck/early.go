package kernelcheck

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/kernels"
)

var (
	ptxParam    = regexp.MustCompile(`_param_(\d+)\]`)
	ptxRegister = regexp.MustCompile(`%[a-z]+\d+`)
	ptxLabel    = regexp.MustCompile(`^(\$?[\w$]+):$`)
	ptxOther    = regexp.MustCompile(`^(?:ld|st|red|atom)\.(?:volatile\.|relaxed\.|weak\.)?(?:param|shared|local|const)`)
)

// harmless are instructions that neither read nor write memory, nor leave the function.
var harmless = []string{"mov", "cvta", "cvt", "add", "sub", "mad", "mul", "fma", "min", "max", "neg", "abs", "div", "rem", "shl", "shr", "shf", "and", "or", "xor", "not", "bfe", "bfi", "prmt",
	"lop3", "setp", "set", "selp", "shfl", "bar", "barrier", "vote", "activemask", "griddepcontrol", "mma", "ex2", "lg2", "sin", "cos", "rcp", "sqrt", "rsqrt"}

// earlyUnit compiles a call's text as a launch has it that begins before the one in front of it has
// ended, and looks at what it does until it waits (tooEarly).
func earlyUnit(ctx context.Context, t *kernels.Trial) error {
	v, err := t.Values()
	if err != nil {
		return err
	}
	g, text, err := t.Spec.Standalone(v, t.ResultTypes(), &kernels.Prologue{Early: true})
	if err != nil {
		return err
	}
	ptx, err := nvrtc(ctx, text, "sm_90a")
	if err != nil {
		return fmt.Errorf("sm_90a, early: %w", err)
	}
	return tooEarly(string(ptx), slices.Concat(g.Inputs, g.Results), t.Spec.Early)
}

// tooEarly reports what a launch with these parameters does before it waits for the one in front
// of it: read by an address that is made of any parameter but those allowed, write, or end. The
// numbers that come with a step, which no launch writes, may be read. What it does not understand,
// a loop around the wait or a way past it, is an error, too.
func tooEarly(ptx string, params, allowed []string) error {
	_, body, ok := strings.Cut(ptx, ".entry")
	if ok {
		_, body, ok = strings.Cut(body, "\n{")
	}
	if !ok {
		return fmt.Errorf("early: the text has no function")
	}
	lines := statements(body)
	wait := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "griddepcontrol.wait") })
	if wait < 0 || strings.HasPrefix(lines[wait], "@") {
		return fmt.Errorf("early: the kernel does not call ready(), or not in each thread")
	}
	label := map[string]int{}
	for i, l := range lines {
		if m := ptxLabel.FindStringSubmatch(l); m != nil {
			label[m[1]] = i
		}
	}
	of := origins(lines[:wait])
	for _, l := range lines[:wait] {
		if strings.HasPrefix(l, ".") || l == "{" || l == "}" || ptxLabel.MatchString(l) {
			continue
		}
		if strings.Contains(l, "launch_dependents") {
			return fmt.Errorf("early: what waits for the launch may begin before ready(): it would not find all that was written before")
		}
		if strings.Count(l, ";") != 1 || !strings.HasSuffix(l, ";") {
			return fmt.Errorf("early: %q is not understood", l)
		}
		op, operands := instruction(l)
		switch kind, _, _ := strings.Cut(op, "."); {
		case kind == "ret" || kind == "exit":
			return fmt.Errorf("early: a thread may end before ready(): %s", l)
		case kind == "bra":
			if to, ok := label[operands[len(operands)-1]]; !ok || to > wait {
				return fmt.Errorf("early: a thread may go past ready(): %s", l)
			}
		case ptxOther.MatchString(op):
		case kind == "st" || kind == "red" || kind == "atom":
			return fmt.Errorf("early: the kernel writes before ready(): %s", l)
		case kind == "ld":
			from := 0
			for _, r := range ptxRegister.FindAllString(strings.Join(operands[1:], " "), -1) {
				for p := range of[r] {
					if p >= len(params) || !slices.Contains(allowed, params[p]) && params[p] != kernels.StepNumbers {
						return fmt.Errorf("early: %s is read before ready(), and is none of early: %v", slices.Concat(params, []string{"another parameter"})[min(p, len(params))], allowed)
					}
					from++
				}
			}
			if from == 0 {
				return fmt.Errorf("early: %q reads before ready() by an address that is made of no parameter", l)
			}
		case !slices.Contains(harmless, kind):
			return fmt.Errorf("early: %q before ready() is not understood", l)
		}
	}
	for _, l := range lines[wait:] {
		if op, operands := instruction(l); strings.HasPrefix(op, "bra") && label[operands[len(operands)-1]] <= wait {
			return fmt.Errorf("early: ready() is in a loop: %s", l)
		}
	}
	return nil
}

// statements are the lines of a function in PTX, without remarks. CUDA's own headers have some in
// braces, on one line.
func statements(body string) []string {
	var lines []string
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "//"):
		case strings.HasPrefix(line, "{") && strings.Contains(line, ";"):
			for part := range strings.SplitSeq(strings.Trim(line, "{} "), ";") {
				if part = strings.TrimSpace(part); part != "" {
					lines = append(lines, part+";")
				}
			}
		default:
			lines = append(lines, line)
		}
	}
	return lines
}

// origins holds, of each register, the parameters that its value is made of.
func origins(lines []string) map[string]map[int]bool {
	of := map[string]map[int]bool{}
	for changed := true; changed; {
		changed = false
		for _, l := range lines {
			_, operands := instruction(l)
			if len(operands) == 0 {
				continue
			}
			from := map[int]bool{}
			for _, m := range ptxParam.FindAllStringSubmatch(l, -1) {
				n, _ := strconv.Atoi(m[1])
				from[n] = true
			}
			for _, r := range ptxRegister.FindAllString(strings.Join(operands[1:], " "), -1) {
				maps.Copy(from, of[r])
			}
			for _, r := range ptxRegister.FindAllString(operands[0], -1) {
				if of[r] == nil {
					of[r] = map[int]bool{}
				}
				before := len(of[r])
				maps.Copy(of[r], from)
				changed = changed || len(of[r]) > before
			}
		}
	}
	return of
}

// instruction is the name and the operands of a line of PTX, vectors in one piece.
func instruction(line string) (op string, operands []string) {
	line = strings.TrimSuffix(line, ";")
	if strings.HasPrefix(line, "@") {
		_, line, _ = strings.Cut(line, " ")
	}
	line = strings.TrimSpace(line)
	end := strings.IndexAny(line, " \t")
	if end < 0 {
		return line, nil
	}
	op, rest := line[:end], line[end:]
	depth, at := 0, 0
	rest = strings.TrimSpace(rest)
	for i, c := range rest {
		switch c {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth--
		case ',':
			if depth == 0 {
				operands = append(operands, strings.TrimSpace(rest[at:i]))
				at = i + 1
			}
		}
	}
	return op, append(operands, strings.TrimSpace(rest[at:]))
}
