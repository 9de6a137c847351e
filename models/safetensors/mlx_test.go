package safetensors

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// mlx.core.save_safetensors without metadata writes null in its place.
func TestNullMetadata(t *testing.T) {
	text := []byte(`{"__metadata__":null,"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`)
	data := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	path := filepath.Join(t.TempDir(), "null.safetensors")
	if err := os.WriteFile(path, append(data, 7), 0o644); err != nil {
		t.Fatal(err)
	}
	s, meta, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(meta) != 0 || s.Len() != 1 {
		t.Errorf("metadata %v, %d tensors", meta, s.Len())
	}
}
