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

func movesText() string {
	return fmt.Sprintf("#define MOST_MOVES %d\n", replay.MostMoves) + movesSource
}

// unit is the text of a kernel for NVRTC, with the name of its function and what tells it from
// another text with a function of that name.
func unit(s *replay.Source) (name, suffix, text string, err error) {
	var fronts []*kernels.Front
	for i, x := range s.Fronts {
		f := movesFront(i)
		suffix += "_moves"
		if x.Source != nil {
			if f, err = x.Spec.Front(i, x.Values, x.Results, x.Groups); err != nil {
				return "", "", "", err
			}
			suffix = fmt.Sprintf("%s_%s%v", strings.TrimSuffix(suffix, "_moves"), x.Spec.Name, x.Groups)
		}
		fronts = append(fronts, f)
	}
	g, text, err := s.Spec.Standalone(s.Values, s.Results, fronts...)
	if err != nil {
		return "", "", "", err
	}
	return g.Name, suffix, text, nil
}

// movesFront are moves in front of a kernel.
func movesFront(i int) *kernels.Front {
	return &kernels.Front{
		Declarations: "#ifndef ZMLX_AHEAD\n#define ZMLX_AHEAD 1\n" + movesText() + "#endif\n",
		Parameters:   fmt.Sprintf("    const __grid_constant__ zc_moves_list zmlx_moves_%d,\n", i),
		Statement:    fmt.Sprintf("zc_ahead(zmlx_moves_%d);\n", i),
	}
}
