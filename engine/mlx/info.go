package mlx

// Info says which MLX this is and what it runs on.
type Info struct {
	Version     string            // of MLX: "0.32.2"
	Device      string            // "cpu:0" or "gpu:0"
	Details     map[string]string // what MLX tells of the device; keys differ
	MemoryLimit uint64            // bytes that MLX aims to stay below
}
