// Package mlx runs programs on MLX through its C interface, mlx-c 0.7.0.
//
// The whole package is behind the build tag mlx and needs cgo; without the tag it
// holds only what tells the caller so. scripts/setup-mlx.sh finds or builds mlx-c.
//
// MLX keeps streams, encoders and error state per thread, so one goroutine, locked
// to one OS thread for the life of the process, makes every call (thread.go); a call
// from anywhere else is refused, not raced. Handles are released explicitly, by
// scope (scope.go): there are no finalizers, since the collector does not see the
// gigabytes behind an eight-byte handle. A failing call makes a Go error; MLX's own
// error handler, which ends the process, is replaced before the first call.
//
// The package refuses to load model files through MLX's readers, to guess a missing
// shape or dtype, and to know anything of rules.
package mlx
