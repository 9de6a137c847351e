//go:build !mlx

package mlx

import (
	"zmlx-rewrite/diag"
	"zmlx-rewrite/engine"
)

var errAbsent = diag.Errorf("mlx/absent", diag.Pos{}, "this binary was built without MLX").
	WithHint("build it with it: make build")

// Probe fails: this binary was built without the tag mlx.
func Probe(device string) (Info, error) { return Info{}, errAbsent }

// HostLibrary is "": without MLX no kernel is launched.
func HostLibrary() string { return "" }

// SelfTest fails: this binary was built without the tag mlx.
func SelfTest(device string) (checksum string, err error) { return "", errAbsent }

// New fails: this binary was built without the tag mlx.
func New(device string) (engine.Engine, error) { return nil, errAbsent }
