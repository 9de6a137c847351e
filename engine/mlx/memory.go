//go:build mlx

package mlx

// #include "bridge.h"
import "C"

// memory is what MLX's allocator holds, in bytes.
type memory struct {
	active uint64 // in arrays that are alive
	peak   uint64 // the most that active was since resetPeak
	cache  uint64 // freed, kept for the next array
	limit  uint64 // above it MLX waits for memory before it takes more
}

func memoryUse() (memory, error) {
	var active, peak, cache, limit C.size_t
	if C.mlx_get_active_memory(&active) != 0 || C.mlx_get_peak_memory(&peak) != 0 ||
		C.mlx_get_cache_memory(&cache) != 0 || C.mlx_get_memory_limit(&limit) != 0 {
		return memory{}, lastError("memory")
	}
	return memory{uint64(active), uint64(peak), uint64(cache), uint64(limit)}, nil
}

func resetPeak() error {
	if C.mlx_reset_peak_memory() != 0 {
		return lastError("reset_peak_memory")
	}
	return nil
}

// clearCache gives freed memory back to the system.
func clearCache() error {
	if C.mlx_clear_cache() != 0 {
		return lastError("clear_cache")
	}
	return nil
}

// setCacheLimit bounds the freed memory that MLX keeps, setMemoryLimit the memory
// that it aims to stay below; setWiredLimit is Metal's. Each returns the old limit.
func setCacheLimit(bytes uint64) (uint64, error) {
	var old C.size_t
	if C.mlx_set_cache_limit(&old, C.size_t(bytes)) != 0 {
		return 0, lastError("set_cache_limit")
	}
	return uint64(old), nil
}

func setMemoryLimit(bytes uint64) (uint64, error) {
	var old C.size_t
	if C.mlx_set_memory_limit(&old, C.size_t(bytes)) != 0 {
		return 0, lastError("set_memory_limit")
	}
	return uint64(old), nil
}

func setWiredLimit(bytes uint64) (uint64, error) {
	var old C.size_t
	if C.mlx_set_wired_limit(&old, C.size_t(bytes)) != 0 {
		return 0, lastError("set_wired_limit")
	}
	return uint64(old), nil
}

// limitResults refuses operations whose result is larger than this, instead of
// letting MLX run into memory that it did not get.
func limitResults(bytes uint64) { C.zr_limit(C.size_t(bytes)) }

// ResetPeak and PeakMemory are those of engine.MemoryMeter.
func (e *mlxEngine) ResetPeak() error { return do(resetPeak) }

func (e *mlxEngine) PeakMemory() (n uint64, err error) {
	err = do(func() error {
		m, err := memoryUse()
		n = m.peak
		return err
	})
	return n, err
}
