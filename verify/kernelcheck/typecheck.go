package kernelcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
)

// TypeCheck checks a translation unit that begins with compat/opencl.h, with the address
// spaces of Metal enforced. Mistakes are a diag.List with the code kernel/types, at the places
// that the unit's #line directives give. The error is ErrNoClang if there is no clang.
func TypeCheck(src string) error { return typeCheck(context.Background(), src) }

func typeCheck(ctx context.Context, src string) error {
	args, err := clang()
	if err != nil {
		return err
	}
	// The target only decides which types there are: x86-64 has half and __bf16. Without
	// fp64, a double is an error; program-scope variables must be constant, as on Metal.
	args = append(args, "-x", "cl", "-cl-std=clc++2021", "-cl-no-stdinc", "-target", "x86_64-linux",
		"-Xclang", "-cl-ext=-cl_khr_fp64,-__opencl_c_fp64,-__opencl_c_program_scope_global_variables,-__opencl_c_device_enqueue",
		"-fsyntax-only", "-Xclang", "-ast-dump", "-fno-color-diagnostics", "-fno-caret-diagnostics", "-ferror-limit=20", "-")
	cmd := command(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(src)
	var tree, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &tree, &messages
	runErr := cmd.Run()
	var issues diag.List
	for _, line := range strings.Split(messages.String(), "\n") {
		if m := clangMessage.FindStringSubmatch(line); m != nil {
			issues.Add(typeIssue(m[1], m[2], m[3], m[4]+m[5]))
		}
	}
	var exit *exec.ExitError
	if runErr != nil && (!errors.As(runErr, &exit) || len(issues) == 0) {
		return fmt.Errorf("clang cannot check types: %w\n%s", runErr, messages.String())
	}
	if len(issues) == 0 {
		issues = unqualified(tree.String())
	}
	return issues.Err()
}

// A literal that is a double is only worth a warning to clang.
var clangMessage = regexp.MustCompile(`^(.+?):(\d+):(\d+): (?:(?:fatal )?error: (.*)|warning: (double precision constant) .*)$`)

func typeIssue(file, line, col, text string) *diag.Issue {
	l, _ := strconv.Atoi(line)
	c, _ := strconv.Atoi(col)
	if strings.HasPrefix(text, "double precision constant") {
		text = "a number without f is a double on the other targets"
	}
	return diag.Errorf("kernel/types", diag.Pos{File: file, Line: l, Col: c}, "%s", text)
}

var (
	place       = regexp.MustCompile(`(?:([^\s<>,'"]+):(\d+)|\bcol):(\d+)`)
	declaration = regexp.MustCompile(`(?:Var|ParmVar|Field)Decl 0x.*?> .*?(?:used |referenced )?([A-Za-z_]\w*) '([^']*__generic[^']*)'`)
)

// unqualified finds pointers and references without an address space. OpenCL gives them its
// generic one, which cannot be switched off, since clang's own copies of structs need
// it; Metal has none and refuses them. tree is clang's dump of the unit: each line has places,
// which leave out the file and the line if they are those of the place before.
func unqualified(tree string) diag.List {
	var issues diag.List
	seen := map[string]bool{}
	file, line, col := "", "1", "1"
	for _, text := range strings.Split(tree, "\n") {
		head, _, _ := strings.Cut(text, "'")
		for _, m := range place.FindAllStringSubmatch(head, -1) {
			if m[2] != "" {
				line = m[2]
				if m[1] != "line" {
					file = m[1]
				}
			}
			col = m[3]
		}
		m := declaration.FindStringSubmatch(text)
		if m == nil || m[1] == "used" || m[1] == "referenced" || !strings.ContainsAny(m[2], "*&") || strings.HasPrefix(file, "<") {
			continue
		}
		key := file + ":" + line + ":" + col
		if !seen[key] {
			seen[key] = true
			issue := typeIssue(file, line, col, fmt.Sprintf("%s is a pointer or reference without an address space", m[1]))
			issues.Add(issue.WithHint("write device, constant, threadgroup or thread in front of its type; a helper for several of them is a template over the pointer's type"))
		}
	}
	return issues
}
