//go:build mlx

package main

// engineName is the engine that this binary was built with.
const engineName = "mlx"

// engineTarget is the target that plans are made for unless --target says otherwise.
func engineTarget() string { return "cpu" }
