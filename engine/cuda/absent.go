//go:build !(cgo && linux)

package cuda

import (
	"errors"

	"zmlx-rewrite/engine/replay"
)

// Open reports that there is no CUDA here.
func Open() (replay.Device, error) {
	return nil, errors.New("this program was built without cgo, or not for Linux: it cannot use CUDA")
}
