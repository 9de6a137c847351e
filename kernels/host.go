package kernels

import (
	"fmt"
	"strings"

	"zmlx-rewrite/graph"
)

// HostUnit is the C++ translation unit that runs a kernel's source on the CPU, for the
// given sets of element types. Numbers come with each call. With checked, threads are
// scheduled and watched for mistakes (compat/host.h). The unit defines
//
//	extern "C" int zmlx_emulated_NAME(const zmlx_call *)
func (s *Spec) HostUnit(instances []Instance, checked bool) (string, error) {
	if s.Code == nil {
		return "", fmt.Errorf("kernel %s has no source", s.Name)
	}
	h, err := s.header()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "// Kernel %s as host C++: written by zmlx-rewrite, see kernels/host.go.\n", s.Name)
	if checked {
		b.WriteString("#define ZMLX_CHECKED 1\n")
	}
	b.WriteString("#include \"host.h\"\n#include \"zmlx_kernel.h\"\n\n")
	fmt.Fprintf(&b, "namespace zmlx_k_%s {\n%s\n", s.Name, h)

	params := make([]string, 0, len(s.types)+len(s.Results))
	for _, t := range s.types {
		params = append(params, "typename "+t.Name)
	}
	for _, r := range s.Results {
		params = append(params, "typename "+r+"_t")
	}
	fmt.Fprintf(&b, "#line 1 \"%s (prologue)\"\ntemplate <%s>\nvoid body(const zmlx_call &zmlx_c) {\n", s.Name, strings.Join(params, ", "))
	for i, x := range s.Inputs {
		name := x.TypeName
		if name == "" {
			name = typeNames[x.DTypes[0]]
		}
		fmt.Fprintf(&b, "  using %s_t = %s;\n  [[maybe_unused]] const %s_t *%s = static_cast<const %s_t *>(zmlx_c.in[%d]);\n", x.Name, name, x.Name, x.Name, x.Name, i)
		if x.Optional {
			fmt.Fprintf(&b, "  [[maybe_unused]] const bool has_%s = %s != nullptr;\n", x.Name, x.Name)
		}
	}
	for i, r := range s.Results {
		fmt.Fprintf(&b, "  %s_t *%s = static_cast<%s_t *>(zmlx_c.out[%d]);\n", r, r, r, i)
	}
	for i, name := range s.ints {
		typ := "int"
		if s.isFlag(name) {
			typ = "bool"
		}
		fmt.Fprintf(&b, "  [[maybe_unused]] const %s %s = %s(zmlx_c.ints[%d]);\n", typ, name, typ, i)
	}
	s.words(&b, "  [[maybe_unused]] constexpr int")
	for i, name := range s.floats {
		fmt.Fprintf(&b, "  [[maybe_unused]] const float %s = float(zmlx_c.floats[%d]);\n", name, i)
	}
	body := sharedLine.ReplaceAllString(s.Code.Body, "${1}ZMLX_THREADGROUP($2, $3, $4);")
	fmt.Fprintf(&b, "#line %d %q\n%s#line 1 \"%s (instances)\"\n}\n\n", s.Code.BodyLine, s.Name+".metal", body, s.Name)

	fmt.Fprintf(&b, "int run(const zmlx_call *c) {\n  [[maybe_unused]] const int32_t *t = c->types;\n")
	for _, in := range instances {
		var conds, args []string
		for _, t := range s.types {
			d := in.Types[t.Name]
			args = append(args, typeNames[d])
			for i, x := range s.Inputs {
				if x.TypeName == t.Name {
					c := fmt.Sprintf("t[%d] == %d", i, d)
					if x.Optional {
						c = fmt.Sprintf("(t[%d] < 0 || %s)", i, c)
					}
					conds = append(conds, c)
				}
			}
		}
		for i, d := range in.Results {
			args = append(args, typeNames[d])
			conds = append(conds, fmt.Sprintf("t[%d] == %d", len(s.Inputs)+i, d))
		}
		fmt.Fprintf(&b, "  if (%s) return zmlx::launch<body<%s>>(*c, %t, \"%s\");\n", strings.Join(conds, " && "), strings.Join(args, ", "), s.Code.Cooperative, s.Name)
	}
	fmt.Fprintf(&b, "  return zmlx::fail(\"%s: not compiled for these element types\");\n}\n}\n\n", s.Name)
	fmt.Fprintf(&b, "extern \"C\" int zmlx_emulated_%s(const zmlx_call *c) { return zmlx_k_%s::run(c); }\n", s.Name, s.Name)
	return b.String(), nil
}

// DTypeCode is the number by which host kernels know an element type: MLX's own, -1
// for an operand that is absent.
func DTypeCode(t graph.DType) int32 {
	if t == graph.NoDType {
		return -1
	}
	return int32(t)
}
