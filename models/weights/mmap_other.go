//go:build !unix

package weights

import (
	"io"
	"os"
)

// mapFile reads the file: a second copy in memory, but the same bytes.
func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data = make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, err
	}
	return data, nil, nil
}
