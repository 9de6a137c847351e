//go:build mlx

package mlx

// #include "bridge.h"
import "C"

import (
	"fmt"
	"sync"

	"zmlx-rewrite/diag"
)

// stream is where operations run: one queue of one device.
type stream = C.mlx_stream

// gpuIsThere reports whether this MLX has a GPU to run on.
func gpuIsThere() bool {
	d := C.mlx_device_new_type(C.MLX_GPU, 0)
	defer C.mlx_device_free(d)
	var there C.bool
	return C.mlx_device_is_available(&there, d) == 0 && bool(there)
}

// Target returns what a plan is made for if nothing else is asked: "metal" or "cuda" if
// MLX has a GPU to run on, else "cpu".
var Target = sync.OnceValue(func() string {
	target := "cpu"
	_ = do(func() error {
		if gpuIsThere() {
			target = kindOf("gpu")
		}
		return nil
	})
	return target
})

// openStream returns the default stream of a device of the MLX thread: "cpu", "gpu", or
// "" for the GPU if there is one. The caller keeps it for the life of the process.
func openStream(device string) (stream, error) {
	if !C.zr_on_thread() {
		return stream{}, lastError("stream")
	}
	if device == "" { // not MLX's default, which opening another stream has changed
		device = "cpu"
		if gpuIsThere() {
			device = "gpu"
		}
	}
	var d C.mlx_device
	switch device {
	case "cpu":
		d = C.mlx_device_new_type(C.MLX_CPU, 0)
	case "gpu":
		d = C.mlx_device_new_type(C.MLX_GPU, 0)
	default:
		return stream{}, diag.Errorf("mlx/device", diag.Pos{}, "unknown device %q", device).WithHint("use cpu or gpu")
	}
	defer C.mlx_device_free(d)
	var there C.bool
	if C.mlx_device_is_available(&there, d) != 0 {
		return stream{}, lastError("device")
	}
	if !there {
		return stream{}, diag.Errorf("mlx/device", diag.Pos{}, "this MLX has no device %s", device).
			WithHint("set MLX up for it: MLX_BACKEND=cuda make setup, or run on the cpu")
	}
	// Some operations look up the default instead of their argument.
	if C.mlx_set_default_device(d) != 0 {
		return stream{}, lastError("device")
	}
	s := C.mlx_stream_new()
	if C.mlx_get_default_stream(&s, d) != 0 {
		return stream{}, lastError("stream")
	}
	return s, nil
}

// version returns MLX's version: "0.32.2".
func version() (string, error) {
	v := C.mlx_string_new()
	defer func() { C.mlx_string_free(v) }()
	if C.mlx_version(&v) != 0 {
		return "", lastError("version")
	}
	return C.GoString(C.mlx_string_data(v)), nil
}

// deviceName returns the device of s as MLX prints it, without "Device": "cpu, 0".
func deviceName(s stream) (string, error) {
	d := C.mlx_device_new()
	defer func() { C.mlx_device_free(d) }()
	if C.mlx_stream_get_device(&d, s) != 0 {
		return "", lastError("device")
	}
	var kind C.mlx_device_type
	var index C.int
	if C.mlx_device_get_type(&kind, d) != 0 || C.mlx_device_get_index(&index, d) != 0 {
		return "", lastError("device")
	}
	name := "cpu"
	if kind == C.MLX_GPU {
		name = "gpu"
	}
	return fmt.Sprintf("%s:%d", name, index), nil
}

// deviceInfo returns what MLX knows of the device of s: its name, its memory, its
// architecture. The keys differ from device to device.
func deviceInfo(s stream) (map[string]string, error) {
	d := C.mlx_device_new()
	defer func() { C.mlx_device_free(d) }()
	if C.mlx_stream_get_device(&d, s) != 0 {
		return nil, lastError("device_info")
	}
	info := C.mlx_device_info_new()
	defer func() { C.mlx_device_info_free(info) }()
	keys := C.mlx_vector_string_new()
	defer func() { C.mlx_vector_string_free(keys) }()
	if C.mlx_device_info_get(&info, d) != 0 || C.mlx_device_info_get_keys(&keys, info) != 0 {
		return nil, lastError("device_info")
	}
	all := map[string]string{}
	for i := range C.mlx_vector_string_size(keys) {
		var key *C.char
		var text C.bool
		if C.mlx_vector_string_get(&key, keys, i) != 0 || C.mlx_device_info_is_string(&text, info, key) != 0 {
			return nil, lastError("device_info")
		}
		if text {
			var v *C.char
			if C.mlx_device_info_get_string(&v, info, key) != 0 {
				return nil, lastError("device_info")
			}
			all[C.GoString(key)] = C.GoString(v)
		} else {
			var v C.size_t
			if C.mlx_device_info_get_size(&v, info, key) != 0 {
				return nil, lastError("device_info")
			}
			all[C.GoString(key)] = fmt.Sprint(uint64(v))
		}
	}
	return all, nil
}
