package cuda

import (
	_ "embed"
	"fmt"
	"strings"

	"zmlx-rewrite/engine/replay"
	"zmlx-rewrite/kernels"
)

//go:embed moves.cu
var movesSource string

// movesText has room for most moves in a launch's parameters.
func movesText(most int) string {
	source := strings.Replace(movesSource, "  MAY_FOLLOW\n", kernels.MayFollow, 1)
	return fmt.Sprintf("#define MOST_MOVES %d\n", most) + source
}

// unit is the text of a kernel for NVRTC, with the name of its function and what tells it from
// another text with a function of that name.
func unit(s *replay.Source) (name, suffix, text string, err error) {
	first := &kernels.Prologue{Follows: true, Early: s.Early}
	if s.Early {
		suffix = "early"
	}
	if len(s.Ahead) > 0 { // moves write, so that such a launch waits first
		suffix = fmt.Sprint(s.Ahead)
		first = &kernels.Prologue{
			Follows:      true,
			Declarations: "#define ZMLX_AHEAD 1\n" + movesText(len(s.Ahead)),
			Parameter:    "    const __grid_constant__ zc_moves_list zmlx_moves,\n",
			Statement:    aheadText(s.Ahead),
		}
	}
	g, text, err := s.Spec.Standalone(s.Values, s.Results, first)
	if err != nil {
		return "", "", "", err
	}
	return g.Name, suffix, text, nil
}

var unitTypes = map[int64]string{1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "uint2", 16: "uint4"}

// aheadText makes the moves of a group, shared out among its threads, which then wait for each
// other.
func aheadText(list []replay.MoveShape) string {
	var b strings.Builder
	total := int64(0)
	for i, m := range list {
		fmt.Fprintf(&b, "%sif (zmlx_i < %du) zc_ahead<%s, %d, %d, %d>(zmlx_moves.list[%d], zmlx_i - %du);\n",
			map[bool]string{true: "else "}[i > 0], total+m.Units(), unitTypes[m.Unit], m.Shape[1], m.Shape[2], m.Shape[3], i, total)
		total += m.Units()
	}
	return fmt.Sprintf("for (unsigned zmlx_i = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); zmlx_i < %du; zmlx_i += blockDim.x * blockDim.y * blockDim.z) {\n%s}\n__syncthreads();\n",
		total, b.String())
}

// follows says which launches may begin before the only one that they wait for has ended; then they
// wait themselves. One that others wait for, too, has no such edge: nobody says what that means.
func follows(list []replay.Launch) []bool {
	waiting := make([]int, len(list)) // for each launch, how many
	for i := range list {
		for _, k := range list[i].After {
			waiting[k]++
		}
	}
	may := make([]bool, len(list))
	for i := range list {
		after := list[i].After
		may[i] = list[i].Source != nil && len(after) == 1 && waiting[after[0]] == 1
	}
	return may
}
