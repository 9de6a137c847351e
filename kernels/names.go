package kernels

import (
	"regexp"
	"strings"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph/guard"
)

// Names of a spec become names of the text that compilers read, so that they must be plain
// ones, mean nothing else there, and differ from each other.

var typeForm = regexp.MustCompile(`^[A-Z][A-Za-z0-9_]*$`)

// takenWords mean something in C++, in MSL or in the compat headers.
var takenWords = wordSet(`
alignas alignof and and_eq asm auto bitand bitor bool break case catch char class co_await co_return co_yield compl concept
const const_cast consteval constexpr constinit continue decltype default delete do double dynamic_cast else enum explicit
export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or
or_eq private protected public register reinterpret_cast requires return short signed sizeof static static_assert
static_cast struct switch template this thread_local throw true try typedef typeid typename typeof union unsigned using
virtual void volatile wchar_t while xor xor_eq restrict pipe global local generic
device constant thread threadgroup threadgroup_imageblock kernel vertex fragment visible mesh object metal half bfloat
bfloat16_t uchar ushort uint ulong size_t ptrdiff_t uint8_t uint16_t uint32_t uint64_t int8_t int16_t int32_t int64_t
char16_t char32_t char8_t uint2 uint3 uint4 int2 int3 int4 float2 float3 float4 half2 half3 half4 mem_flags as_type
thread_position_in_grid thread_position_in_threadgroup threadgroup_position_in_grid threads_per_threadgroup
threadgroups_per_grid threads_per_grid thread_index_in_threadgroup thread_index_in_simdgroup
simdgroup_index_in_threadgroup simdgroups_per_threadgroup threads_per_simdgroup thread_execution_width
threadgroup_barrier simdgroup_barrier linux unix errno assert stdin stdout stderr main std cg mlx
NAN INFINITY NULL EOF TRUE FALSE METAL_FUNC MAXFLOAT HUGE_VALF
`)

func wordSet(text string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(text) {
		set[w] = true
	}
	return set
}

// Reserved reports whether a name means something to a compiler of one of the targets, or is
// kept for the text around a body.
func Reserved(name string) bool {
	return takenWords[name] || strings.HasPrefix(name, "zmlx") || strings.HasPrefix(name, "simd_") || strings.Contains(name, "__")
}

// names checks all names of a spec that is read but for its launch.
func (p *specParser) names(root *diag.Node) {
	s := p.spec
	from := map[string]string{RowsName: "the product of the leading dimensions"}
	add := func(key, what, name string) {
		n := root.Get(key)
		switch {
		case Reserved(name):
			p.issues.Add(n.Errorf("kernel/name", "%s is called %s, which means something else to compilers", what, name))
		case from[name] != "":
			p.issues.Add(n.Errorf("kernel/name", "%s is called %s in the source, as is %s", what, name, from[name]))
		}
		from[name] = what
	}
	small := func(key, what, name string) bool {
		if !nameForm.MatchString(name) {
			p.issues.Add(root.Get(key).Errorf("kernel/name", "%s is called %q: it must be small letters, digits and _", what, name))
			return false
		}
		return true
	}
	for _, t := range s.types {
		if !typeForm.MatchString(t.Name) {
			p.issues.Add(root.Get("types").Errorf("kernel/name", "an element type is called %q: it must be a capital letter, then letters, digits and _", t.Name))
			continue
		}
		add("types", "element type "+t.Name, t.Name)
	}
	for _, x := range s.Inputs {
		add("inputs", "input "+x.Name, x.Name)
		add("inputs", "the type of input "+x.Name, x.Name+"_t")
		if x.Optional {
			add("inputs", "whether there is an input "+x.Name, "has_"+x.Name)
		}
	}
	seen := map[string]bool{RowsName: true}
	for _, x := range s.Inputs {
		for _, d := range x.Shape {
			if d.Name != "" && d.Name != "..." && !seen[d.Name] {
				seen[d.Name] = true
				if small("inputs", "a dimension", d.Name) {
					add("inputs", "dimension "+d.Name, d.Name)
				}
			}
		}
	}
	for _, a := range s.Attrs {
		if !small("attrs", "an attribute", a.Name) {
			continue
		}
		add("attrs", "attribute "+a.Name, a.Name)
		if a.Kind != guard.Word {
			continue
		}
		for _, w := range a.Words {
			if small("attrs", "a word of attribute "+a.Name, w) {
				add("attrs", "word "+w+" of attribute "+a.Name, a.Name+"_"+w)
			}
		}
	}
	for _, r := range s.Results {
		if small("results", "a result", r) {
			add("results", "result "+r, r)
			add("results", "the type of result "+r, r+"_t")
		}
	}
}
