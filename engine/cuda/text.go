package cuda

import (
	_ "embed"
	"fmt"

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
	var first *kernels.Prologue
	if s.Ahead {
		suffix = "_ahead"
		first = &kernels.Prologue{
			Declarations: "#define ZMLX_AHEAD 1\n" + movesText(),
			Parameter:    "    const __grid_constant__ zc_moves_list zmlx_moves,\n",
			Statement:    "zc_ahead(zmlx_moves);\n",
		}
	}
	g, text, err := s.Spec.Standalone(s.Values, s.Results, first)
	if err != nil {
		return "", "", "", err
	}
	return g.Name, suffix, text, nil
}
