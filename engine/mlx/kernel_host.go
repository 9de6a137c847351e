//go:build mlx

package mlx

import (
	"fmt"

	"zmlx-rewrite/kernels"
)

func hostKernel(s *kernels.Spec) (uintptr, error) {
	return 0, fmt.Errorf("kernel %s: no library of host kernels", s.Name)
}

func (l *launch) onHost() emitMany { return nil }
