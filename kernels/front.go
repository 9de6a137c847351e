package kernels

import (
	"fmt"
	"regexp"
	"strings"

	"zmlx-rewrite/graph"
)

// Front is what each group of a launch does before the kernel's own text.
type Front struct {
	Declarations string // in front of the function
	Parameters   string // one a line, each with a comma
	Statement    string
}

// groupWords are words of sources whose threads wait for others than those of their simdgroup, or
// share memory with them; simdWords are those of threads that know of their simdgroup or group.
var (
	groupWords = regexp.MustCompile(`\bthreadgroup(_barrier)?\b`)
	simdWords  = regexp.MustCompile(`\b(simd_\w+|simdgroup_\w+|thread_index_in_\w+|simdgroups?_\w+|thread_position_in_threadgroup|threadgroups?_p\w+|threads_per_threadgroup)\b`)
)

// Frontable reports whether a launch can be in front of another kernel, as groups of 32 threads
// that wait for nobody, and how many: its groups are simdgroups, or its threads know nothing of
// their group.
func (s *Spec) Frontable(g Geometry) (groups [3]int64, ok bool) {
	if s.Code == nil || g.Group[1] != 1 || g.Group[2] != 1 {
		return groups, false
	}
	text := s.Code.Header + s.Code.Body
	for _, name := range s.Code.Includes {
		lib, err := library(name)
		if err != nil {
			return groups, false
		}
		text += lib
	}
	text = comments.ReplaceAllString(text, " ")
	if groupWords.MatchString(text) || g.Group[0] != 32 && simdWords.MatchString(text) {
		return groups, false
	}
	return [3]int64{(g.Grid[0] + 31) / 32, g.Grid[1], g.Grid[2]}, true
}

// builtins are what a text asks about its threads, for those of a front.
var builtins = []struct{ name, value string }{
	{"thread_position_in_grid", "(zmlx_uint3{zmlx_x * 32u + zmlx_lane, zmlx_y, zmlx_z})"},
	{"thread_position_in_threadgroup", "(zmlx_uint3{zmlx_lane, 0u, 0u})"},
	{"threadgroup_position_in_grid", "(zmlx_uint3{zmlx_x, zmlx_y, zmlx_z})"},
	{"threads_per_threadgroup", "(zmlx_uint3{32u, 1u, 1u})"},
	{"threadgroups_per_grid", "(zmlx_uint3{%[1]du, %[2]du, %[3]du})"},
	{"threads_per_grid", "(zmlx_uint3{32u * %[1]du, %[2]du, %[3]du})"},
	{"thread_index_in_threadgroup", "zmlx_lane"},
	{"thread_index_in_simdgroup", "zmlx_lane"},
	{"simdgroup_index_in_threadgroup", "0u"},
	{"simdgroups_per_threadgroup", "1u"},
}

// Front is a kernel as front number i of a CUDA launch: all of its groups, of 32 threads, shared
// out among the simdgroups of each group of the launch. The same text as in a launch of its own,
// in a namespace, so that its names meet no others.
func (s *Spec) Front(i int, v *Values, results []graph.DType, groups [3]int64) (*Front, error) {
	g, err := s.Assemble(CUDA, v, results)
	if err != nil {
		return nil, err
	}
	g.Minify(CUDA)
	space := fmt.Sprintf("zmlx_front_%d", i)
	header, undef := g.Header, ""
	for _, b := range builtins {
		value := b.value
		if strings.Contains(value, "%") {
			value = fmt.Sprintf(value, groups[0], groups[1], groups[2])
		}
		define := regexp.MustCompile(`(?m)^#define ` + b.name + `\b(?:.*\\\n)*.*$`)
		header = define.ReplaceAllLiteralString(header, "#define "+b.name+" "+value)
		undef += "#undef " + b.name + "\n"
	}
	var own strings.Builder
	s.parameters(&own, g, v, results, "const %s *%s", "%s *%s")
	lines := strings.Split(strings.TrimSuffix(own.String(), ",\n"), ",\n")
	f := &Front{Declarations: fmt.Sprintf("namespace %s {\n%s\ninline void run(const unsigned zmlx_x, const unsigned zmlx_y, const unsigned zmlx_z, const unsigned zmlx_lane,\n%s) {\n%s}\n%s}\n",
		space, header, strings.Join(lines, ",\n"), g.Body, undef)}
	args := make([]string, len(lines))
	for k, line := range lines {
		at := strings.LastIndex(line, "*") + 1
		args[k] = fmt.Sprintf("%s_%d", space, k)
		f.Parameters += line[:at] + args[k] + ",\n"
	}
	f.Statement = fmt.Sprintf("{\nconst unsigned zmlx_thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z), zmlx_simdgroups = blockDim.x * blockDim.y * blockDim.z / 32u;\n"+
		"for (unsigned zmlx_at = zmlx_thread / 32u; zmlx_at < %du; zmlx_at += zmlx_simdgroups)\n%s::run(zmlx_at %% %du, zmlx_at / %du %% %du, zmlx_at / %du, zmlx_thread %% 32u, %s);\n__syncthreads();\n}\n",
		groups[0]*groups[1]*groups[2], space, groups[0], groups[0], groups[1], groups[0]*groups[1], strings.Join(args, ", "))
	return f, nil
}
