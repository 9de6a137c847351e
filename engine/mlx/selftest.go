//go:build mlx

package mlx

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/graph"
)

// Probe opens a device ("cpu", "gpu", or "" for MLX's choice) and describes it.
func Probe(device string) (info Info, err error) {
	err = do(func() error {
		st, err := openStream(device)
		if err != nil {
			return err
		}
		if info.Version, err = version(); err != nil {
			return err
		}
		if info.Device, err = deviceName(st); err != nil {
			return err
		}
		m, err := memoryUse()
		if err != nil {
			return err
		}
		info.MemoryLimit = m.limit
		info.Details, err = deviceInfo(st)
		return err
	})
	return info, err
}

// SelfTest multiplies a known tensor with a known 4-bit matrix and compares the
// result with integer arithmetic. All numbers are small integers, so every device,
// whatever its order of summation, must give the same bits. It returns the checksum
// of the result.
func SelfTest(device string) (checksum string, err error) {
	const rows, inner, cols, group = 8, 64, 32, 32
	x, w := make([]int, rows*inner), make([]int, cols*inner)
	for i := range x {
		x[i] = i*i%7 - 3
	}
	for i := range w {
		w[i] = (i*5+i/inner)%16 - 8 // every group holds -8 and 7, so that the scale is 1
	}
	want := make([]byte, 0, rows*cols*4)
	for r := range rows {
		for c := range cols {
			sum := 0
			for k := range inner {
				sum += x[r*inner+k] * w[c*inner+k]
			}
			want = binary.LittleEndian.AppendUint32(want, math.Float32bits(float32(sum)))
		}
	}

	var got, plain []byte
	err = do(func() error {
		st, err := openStream(device)
		if err != nil {
			return err
		}
		s := newScope(st)
		defer s.free()
		a := s.fromBytes(floats(x), []int{rows, inner}, graph.Float32)
		b := s.fromBytes(floats(w), []int{cols, inner}, graph.Float32)
		q := quantization{mode: "affine", groupSize: group, bits: 4}
		packed, scales, biases := s.quantize(b, q)
		got = s.bytes(s.quantizedMatmul(a, packed, scales, biases, true, q))
		plain = s.bytes(s.matmul(a, s.transpose(b, nil)))
		return s.err
	})
	if err != nil {
		return "", err
	}
	for _, r := range []struct {
		op  string
		got []byte
	}{{"matmul", plain}, {"quantized_matmul", got}} {
		if !bytes.Equal(r.got, want) {
			return "", diag.Errorf("mlx/selftest", diag.Pos{}, "%s of a known tensor has wrong bits on this device", r.op).
				WithHint("this MLX cannot be trusted here; set it up again (rm -rf .cache/mlx && make setup)")
		}
	}
	sum := sha256.Sum256(want)
	return hex.EncodeToString(sum[:8]), nil
}

func floats(v []int) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
	}
	return b
}
