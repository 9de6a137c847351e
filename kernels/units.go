package kernels

import (
	"fmt"
	"strings"

	"zmlx-rewrite/graph"
)

// MetalCheckUnit is a translation unit for clang's OpenCL mode, in which a source's types
// and address spaces are checked as on Metal. small says that inputs are in the constant
// address space, where Metal puts arrays of less than 8 elements.
func (s *Spec) MetalCheckUnit(v *Values, results []graph.DType, small bool) (string, error) {
	return s.metalUnit(v, results, small, false)
}

// MinifiedCheckUnit is MetalCheckUnit of the text as it is launched: minified. Its mistakes
// are at no lines of the source, so that it is checked after the other.
func (s *Spec) MinifiedCheckUnit(v *Values, results []graph.DType, small bool) (string, error) {
	return s.metalUnit(v, results, small, true)
}

func (s *Spec) metalUnit(v *Values, results []graph.DType, small, minified bool) (string, error) {
	g, err := s.Assemble(OpenCL, v, results)
	if err != nil {
		return "", err
	}
	space := "device"
	if small {
		space = "constant"
	}
	var b strings.Builder
	s.parameters(&b, g, v, results, "const "+space+" %s *%s", "device %s *%s")
	b.WriteString("    ZMLX_BUILTINS) {\n")
	if minified {
		g.Body = minify(g.Body, OpenCL)
		g.Header = prune(minify(g.Header, OpenCL), b.String()+g.Body)
	}
	return fmt.Sprintf("%s\n#line 1 \"%s (parameters)\"\nkernel void %s(\n%s%s}\n", g.Header, s.Name, s.Name, b.String(), g.Body), nil
}

// CUDAUnit is the translation unit that MLX makes of a source for NVRTC, minified as it is
// launched, and the name of the function in it.
//
// Source: mlx/backend/cuda/custom_kernel.cpp, build_kernel, of MLX 0.32.2.
func (s *Spec) CUDAUnit(v *Values, results []graph.DType) (unit, function string, err error) {
	g, err := s.Assemble(CUDA, v, results)
	if err != nil {
		return "", "", err
	}
	g.Minify(CUDA)
	var b strings.Builder
	fmt.Fprintf(&b, "#include \"mlx/backend/cuda/device/utils.cuh\"\n\n#include <cooperative_groups.h>\n\n%s\nnamespace mlx::core::cu {\n\nnamespace cg = cooperative_groups;\n\n__global__ void custom_kernel_%s(\n", g.Header, g.Name)
	s.parameters(&b, g, v, results, "const %s *%s", "%s *%s")
	text := strings.TrimSuffix(b.String(), ",\n")
	return text + ") {\n" + g.Body + "}\n\n}\n", "mlx::core::cu::custom_kernel_" + g.Name, nil
}

// Prologue is what a launch without MLX does before the kernel's own text.
type Prologue struct {
	// Follows says that the launch may begin before the one that it waits for has ended: its text
	// waits, first of all or, if Early, where it calls ready(), behind what the spec's Early allows.
	Follows, Early bool
	Declarations   string // in front of the function
	Parameter      string // its last
	Statement      string // its first
}

// Standalone is the translation unit for NVRTC of a launch without MLX: the same text
// behind CUDA's own headers of halves alone, which compile ten times faster than what
// MLX puts in front. The function has C linkage. p may be nil.
func (s *Spec) Standalone(v *Values, results []graph.DType, p *Prologue) (*GPU, string, error) {
	g, err := s.Assemble(CUDA, v, results)
	if err != nil {
		return nil, "", err
	}
	g.Minify(CUDA)
	return g, s.StandaloneOf(g, v, results, p), nil
}

// StandaloneOf is the unit of a text for CUDA that is assembled already, and minified.
func (s *Spec) StandaloneOf(g *GPU, v *Values, results []graph.DType, p *Prologue) string {
	var b strings.Builder
	if p == nil {
		p = &Prologue{}
	}
	early, first, header := "", MayFollow, g.Header
	switch {
	case p.Early: // what waits for it may follow where ready() has waited
		early, first, header = "#define ZMLX_EARLY 1\n", "", strings.Replace(header, `"`+waits+`"`, `"`+waitsFirst+`"`, 1)
	case p.Follows:
		first = "\n#if __CUDA_ARCH__ >= 900\nasm volatile(\"" + waitsFirst + "\" ::: \"memory\");\n#endif\n"
	}
	fmt.Fprintf(&b, "%s%s%s%s\nextern \"C\" __global__ void %s(\n", standaloneHead, early, p.Declarations, header, g.Name)
	s.parameters(&b, g, v, results, "const %s *%s", "%s *%s")
	b.WriteString(p.Parameter)
	return strings.TrimSuffix(b.String(), ",\n") + ") {\n" + first + p.Statement + g.Body + "}\n"
}

// MayFollow is the first statement of a launch that begins when all is there: once all of its groups
// have come there, one that waits for it may begin, if its edge says so. Others begin at its end.
const MayFollow = `
#if __CUDA_ARCH__ >= 900
asm volatile("griddepcontrol.launch_dependents;");
#endif
`

// A launch that may begin before the one in front of it has ended lets another follow when it has
// waited itself: so whatever begins early finds all that was written before the launch in front of it.
const (
	waits      = "griddepcontrol.wait;"
	waitsFirst = waits + `\n\tgriddepcontrol.launch_dependents;`
)

// NVRTC has no <stdint.h> of its own.
const standaloneHead = `#include <cuda_fp16.h>
#include <cuda_bf16.h>
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
`

// Values returns the numbers of a trial, as a call with these types would have them.
func (t *Trial) Values() (*Values, error) { return t.Spec.Values(t.Inputs, t.Attrs) }

// ResultTypes returns the element types of a trial's results.
func (t *Trial) ResultTypes() []graph.DType {
	types := make([]graph.DType, len(t.Results))
	for i, r := range t.Results {
		types[i] = r.DType
	}
	return types
}
