package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"zmlx-rewrite/diag"
)

// Source is a kernel's NAME.metal, taken apart: helper functions, and the body that
// is put into a function of each target's own making.
type Source struct {
	File     string
	Text     string   // as read
	Header   string   // all above the line "kernel void NAME() {"
	Body     string   // what is between the braces
	BodyLine int      // line of the file that Body starts on, from 1
	Includes []string // shared headers, "reduce.h"
	// Cooperative says that threads of a group work together: the body, or a helper that it
	// comes to, has a simd op, a barrier or threadgroup memory.
	Cooperative bool
	Shared      []Shared
}

// Shared is a line "threadgroup TYPE NAME[COUNT];" of a body.
type Shared struct {
	Type, Name, Count string
	Line              int // of the file
}

var (
	kernelLine  = regexp.MustCompile(`(?m)^kernel void ([a-z][a-z0-9_]*)\(\) \{[ \t]*$`)
	includeLine = regexp.MustCompile(`(?m)^#include "([a-z0-9_]+\.h)"[ \t]*(?://.*)?$`)
	sharedLine  = regexp.MustCompile(`(?m)^([ \t]*)threadgroup ([A-Za-z_][A-Za-z0-9_ ]*?) ([A-Za-z_][A-Za-z0-9_]*)\[([^\]]+)\];[ \t]*(?://.*)?$`)
	cooperation = regexp.MustCompile(`\b(?:simd_[a-z_]+|simdgroup_barrier|threadgroup_barrier|threadgroup)\b`)
	comments    = regexp.MustCompile(`(?s)//[^\n]*|/\*.*?\*/`)
)

// ParseSource takes a source apart. kernel is the name that its spec has.
func ParseSource(file, kernel string, data []byte) (*Source, *diag.Issue) {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	s := &Source{File: file, Text: text}
	bad := func(line int, format string, args ...any) (*Source, *diag.Issue) {
		return nil, diag.Errorf("kernel/source", diag.Pos{File: file, Line: line}, format, args...)
	}
	at := kernelLine.FindAllStringSubmatchIndex(text, -1)
	want := fmt.Sprintf("kernel void %s() {", kernel)
	if len(at) != 1 {
		return bad(0, "there must be one line %q; there are %d", want, len(at))
	}
	if name := text[at[0][2]:at[0][3]]; name != kernel {
		return bad(1+strings.Count(text[:at[0][0]], "\n"), "the kernel is called %s, its spec %s: the line must be %q", name, kernel, want)
	}
	end := strings.LastIndex(text, "\n}")
	if end < at[0][1] || strings.TrimSpace(text[end+2:]) != "" {
		return bad(1+strings.Count(text, "\n"), "the file must end with the } of the kernel, alone on its line")
	}
	s.Header, s.Body = text[:at[0][0]], text[at[0][1]+1:end+1]
	s.BodyLine = 1 + strings.Count(text[:at[0][1]+1], "\n")
	if c := comments.ReplaceAllString(s.Header, ""); strings.Contains(c, "threadgroup ") && sharedLine.MatchString(c) {
		return bad(1, "threadgroup memory is declared in the body only, since Metal allows it nowhere else")
	}
	for _, m := range includeLine.FindAllStringSubmatch(s.Header, -1) {
		s.Includes = append(s.Includes, m[1])
	}
	bare := comments.ReplaceAllStringFunc(s.Body, func(c string) string { return strings.Repeat("\n", strings.Count(c, "\n")) })
	for _, m := range sharedLine.FindAllStringSubmatchIndex(bare, -1) {
		sub := func(i int) string { return bare[m[2*i]:m[2*i+1]] }
		s.Shared = append(s.Shared, Shared{sub(2), sub(3), sub(4), s.BodyLine + strings.Count(bare[:m[0]], "\n")})
	}
	if n := len(regexp.MustCompile(`\bthreadgroup [A-Za-z]`).FindAllString(bare, -1)); n != len(s.Shared) {
		return bad(s.BodyLine, "threadgroup memory must be declared as \"threadgroup TYPE NAME[COUNT];\", each on a line of its own")
	}
	s.Cooperative = cooperation.MatchString(bare) || cooperation.MatchString(s.reached())
	return s, nil
}

// reached is what of a source's header, and of the shared headers, its body comes to.
func (s *Source) reached() string {
	var b strings.Builder
	for _, name := range s.Includes {
		text, _ := library(name) // one that is not there is an error elsewhere
		b.WriteString(text + "\n")
	}
	b.WriteString(includeLine.ReplaceAllString(s.Header, ""))
	return prune(minify(b.String(), "host"), minify(s.Body, "host"))
}

// hash is the content of a kernel: spec, source and the shared headers that it uses.
func contentHash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
