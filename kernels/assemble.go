package kernels

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
	"zmlx-rewrite/graph/guard"
	"zmlx-rewrite/kernels/compat"
)

// attach reads the kernel's source if there is one beside its spec, and with it makes
// the content hash.
func (s *Spec) attach(fsys fs.FS, prefix string) diag.List {
	file := s.Name + ".metal"
	data, err := readText(fsys, file)
	switch {
	case err == nil:
		issues := s.setSource(path.Join(prefix, file), string(data))
		if s.Code != nil && s.Launch == nil {
			issues.Add(diag.Errorf("kernel/launch", diag.Pos{File: s.Source}, "kernel %s has a source, so its spec must say how many threads to launch", s.Name).
				WithHint("add the key launch: {grid: [...], threadgroup: [...]}"))
		}
		return issues
	case !errors.Is(err, fs.ErrNotExist):
		return diag.List{diag.Errorf("kernel/read", diag.Pos{File: path.Join(prefix, file)}, "%v", err)}
	}
	s.ContentHash = contentHash(s.Hash)
	return nil
}

// setSource takes a text as the kernel's source.
func (s *Spec) setSource(file, text string) diag.List {
	var issues diag.List
	src, issue := ParseSource(file, s.Name, []byte(text))
	if issue != nil {
		return diag.List{issue}
	}
	parts := []string{s.Hash, src.Text}
	for _, name := range src.Includes {
		text, err := library(name)
		if err != nil {
			line := 1 + strings.Count(src.Header[:strings.Index(src.Header, "\""+name+"\"")], "\n")
			issues.Add(diag.Errorf("kernel/include", diag.Pos{File: src.File, Line: line}, "there is no shared header %q", name).WithHint("shared headers: %s", strings.Join(libraries(), ", ")))
			continue
		}
		parts = append(parts, text)
	}
	if code := comments.ReplaceAllString(strings.Join(parts[1:], "\n"), ""); len(s.Early) > 0 && !strings.Contains(code, "ready();") {
		issues.Add(diag.Errorf("kernel/early", diag.Pos{File: src.File, Line: src.BodyLine}, "the spec says what is read early, and the source does not call ready()").WithHint("call ready() in every thread behind the first loads, or leave the key early out"))
	}
	s.Code = src
	s.ContentHash = contentHash(parts...)
	return issues
}

// library returns a header of kernels/compat/lib.
func library(name string) (string, error) {
	data, err := fs.ReadFile(compat.FS, "lib/"+name)
	return string(data), err
}

func libraries() []string {
	names, _ := fs.Glob(compat.FS, "lib/*.h")
	for i, n := range names {
		names[i] = path.Base(n)
	}
	return names
}

// typeNames are the names of element types in sources, the same for all targets; the
// compat headers define those that a target does not have.
var typeNames = map[graph.DType]string{
	graph.Bool: "bool", graph.Uint8: "uint8_t", graph.Uint16: "uint16_t", graph.Uint32: "uint32_t", graph.Uint64: "uint64_t",
	graph.Int8: "int8_t", graph.Int16: "int16_t", graph.Int32: "int32_t", graph.Int64: "int64_t",
	graph.Float16: "half", graph.BFloat16: "bfloat16_t", graph.Float32: "float",
}

// Target is what a source is assembled for.
type Target string

const (
	Metal  Target = "metal"
	CUDA   Target = "cuda"
	OpenCL Target = "opencl" // clang's OpenCL mode, which takes MSL: for checking types only
)

// GPU is the text of a kernel for one set of element types and numbers, in the form
// that MLX's custom kernels take.
type GPU struct {
	Name    string // unique for the text
	Header  string
	Body    string
	Inputs  []string
	Results []string
	// Dynamic are the places among Spec.Ints of numbers that are not in the text: they
	// are the elements of one more input, int32.
	Dynamic []int
}

// StepNumbers is the input with the numbers that change from step to step.
const StepNumbers = "zmlx_ints"

// Assemble makes the text for a target. Numbers that v knows are constants in it;
// those with symbols come at run time. results are the element types of the results.
func (s *Spec) Assemble(target Target, v *Values, results []graph.DType) (*GPU, error) {
	if s.Code == nil {
		return nil, fmt.Errorf("kernel %s has no source", s.Name)
	}
	g := &GPU{Results: s.Results}
	var b strings.Builder
	for _, t := range s.types {
		fmt.Fprintf(&b, "using %s = %s;\n", t.Name, typeNames[s.typeOf(t, v.Types)])
	}
	for i, x := range s.Inputs {
		fmt.Fprintf(&b, "using %s_t = %s;\n", x.Name, typeNames[s.inputType(i, v.Types)])
		absent := v.Types[i] == graph.NoDType
		if x.Optional {
			fmt.Fprintf(&b, "constexpr bool has_%s = %t;\n", x.Name, !absent)
		}
		if absent {
			fmt.Fprintf(&b, "const device %s_t* %s = nullptr;\n", x.Name, x.Name)
		} else {
			g.Inputs = append(g.Inputs, x.Name)
		}
	}
	for i, r := range s.Results {
		fmt.Fprintf(&b, "using %s_t = %s;\n", r, typeNames[results[i]])
	}
	for i, name := range s.ints {
		typ := "int"
		if s.isFlag(name) {
			typ = "bool"
		}
		if n, ok := v.Ints[i].Const(); ok {
			fmt.Fprintf(&b, "constexpr %s %s = %s(%d);\n", typ, name, typ, n)
		} else {
			fmt.Fprintf(&b, "const %s %s = %s(%s[%d]);\n", typ, name, typ, StepNumbers, len(g.Dynamic))
			g.Dynamic = append(g.Dynamic, i)
		}
	}
	if len(g.Dynamic) > 0 {
		g.Inputs = append(g.Inputs, StepNumbers)
	}
	s.words(&b, "constexpr int")
	for i, name := range s.floats {
		fmt.Fprintf(&b, "constexpr float %s = %s;\n", name, floatText(v.Floats[i]))
	}
	fmt.Fprintf(&b, "#line %d %q\n%s", s.Code.BodyLine, s.Name+".metal", s.Code.Body)
	g.Body = b.String()

	head, err := compatText(target)
	if err != nil {
		return nil, err
	}
	h, err := s.header()
	if err != nil {
		return nil, err
	}
	g.Header = head + h
	g.name(s.Name)
	return g, nil
}

// compatText is the header that presents the subset of MSL as a target.
func compatText(target Target) (string, error) {
	data, err := fs.ReadFile(compat.FS, string(target)+".h")
	return string(data), err
}

// header is the source's header with the shared headers in place of their #include.
func (s *Spec) header() (string, error) {
	var b strings.Builder
	seen := map[string]bool{}
	for _, name := range s.Code.Includes {
		if seen[name] {
			continue
		}
		seen[name] = true
		text, err := library(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "#line 1 %q\n%s\n", name, strings.Replace(text, "#pragma once\n", "\n", 1))
	}
	fmt.Fprintf(&b, "#line 1 %q\n%s", s.Name+".metal", includeLine.ReplaceAllString(s.Code.Header, ""))
	return b.String(), nil
}

// words declares the names of word attributes: mode_affine, mode_mxfp4.
func (s *Spec) words(b *strings.Builder, typ string) {
	for _, a := range s.Attrs {
		for i, w := range a.Words {
			fmt.Fprintf(b, "%s %s_%s = %d;\n", typ, a.Name, w, i)
		}
	}
}

func (s *Spec) isFlag(name string) bool {
	return slices.ContainsFunc(s.Attrs, func(a Attr) bool { return a.Name == name && a.Kind == guard.Bool })
}

// typeOf returns the element type that a name under types stands for in a call: that
// of the first input of that name which is there.
func (s *Spec) typeOf(t TypeName, types []graph.DType) graph.DType {
	for i, x := range s.Inputs {
		if x.TypeName == t.Name && types[i] != graph.NoDType {
			return types[i]
		}
	}
	return t.DTypes[0]
}

func (s *Spec) inputType(i int, types []graph.DType) graph.DType {
	x := s.Inputs[i]
	switch {
	case types[i] != graph.NoDType:
		return types[i]
	case x.TypeName != "":
		return s.typeOf(TypeName{x.TypeName, x.DTypes}, types)
	}
	return x.DTypes[0]
}

// floatText writes a float so that it reads back to the same float32.
func floatText(v float64) string {
	switch f := float64(float32(v)); {
	case math.IsNaN(f):
		return "NAN"
	case math.IsInf(f, 1):
		return "INFINITY"
	case math.IsInf(f, -1):
		return "-INFINITY"
	}
	t := strconv.FormatFloat(float64(float32(v)), 'g', 9, 32)
	if !strings.ContainsAny(t, ".e") {
		t += ".0"
	}
	return t + "f"
}

// isFloat32 reports whether a number is finite as a float32.
func isFloat32(v float64) bool { return math.Abs(v) <= math.MaxFloat32 }
