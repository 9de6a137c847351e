//go:build mlx

package mlx

// #include "bridge.h"
import "C"

import (
	"math"
	"regexp"

	"zmlx-rewrite/diag"
)

// scope makes arrays and owns them: free releases them all at once. The first
// failure sticks in err; later operations then return empty arrays, so that code
// that builds a graph checks once, at its end.
//
// Free a scope BEFORE evaluating what it built, after keep for what is to live on:
// MLX can write into an input in place (a cache update) only if nobody else holds
// it, and a handle that is still alive counts as somebody.
//
// A scope is used on the MLX thread only, inside do.
type scope struct {
	stream stream
	owned  []C.mlx_array
	args   []C.int // room for the int lists of the call being made
	err    error
}

func newScope(on stream) *scope { return &scope{stream: on} }

// free releases all arrays that the scope made. The scope can be used again, and
// keeps its error.
func (s *scope) free() {
	if len(s.owned) > 0 {
		C.zr_release(&s.owned[0], C.size_t(len(s.owned)))
		s.owned = s.owned[:0]
	}
}

// own takes the result of one call. An empty one means that the call failed.
func (s *scope) own(op string, a C.mlx_array) array {
	s.args = s.args[:0]
	if a.ctx == nil {
		s.failed(op)
		return array{}
	}
	s.owned = append(s.owned, a)
	return array{a}
}

// ownAll is own for calls with several results; rc is the call's return code.
func (s *scope) ownAll(op string, rc C.int, list []C.mlx_array) []array {
	s.args = s.args[:0]
	all := make([]array, len(list))
	if rc != 0 {
		s.failed(op)
		return all
	}
	for i, a := range list {
		all[i] = array{a}
	}
	s.owned = append(s.owned, list...)
	return all
}

// refuse records a failure found on the Go side.
func (s *scope) refuse(op, format string, args ...any) array {
	s.args = s.args[:0]
	if s.err == nil {
		is := diag.Errorf("mlx/op", diag.Pos{}, format, args...)
		is.Message = op + ": " + is.Message
		s.err = is
	}
	return array{}
}

func (s *scope) failed(op string) {
	err := lastError(op)
	if s.err == nil {
		s.err = err
	}
}

// ints gives a list of dims, axes or sizes to C. The pointer is good until the
// call that it is for has returned.
func (s *scope) ints(list []int) (*C.int, C.size_t) {
	at := len(s.args)
	for _, v := range list {
		if v < math.MinInt32 || v > math.MaxInt32 {
			s.refuse("argument", "%d does not fit MLX's 32-bit sizes", v)
			v = 0
		}
		s.args = append(s.args, C.int(v))
	}
	if len(list) == 0 {
		return nil, 0
	}
	return &s.args[at], C.size_t(len(list))
}

// int gives one int to C.
func (s *scope) int(v int) C.int {
	if v < math.MinInt32 || v > math.MaxInt32 {
		s.refuse("argument", "%d does not fit MLX's 32-bit sizes", v)
		return 0
	}
	return C.int(v)
}

// handles gives a list of arrays to C.
func handles(list []array) (*C.mlx_array, C.size_t) {
	if len(list) == 0 {
		return nil, 0
	}
	return &list[0].c, C.size_t(len(list))
}

// place is the source line that mlx-c adds to a message; it names a path of the
// machine that built it.
var place = regexp.MustCompile(`(?s)^(.*) at [^:]*\.cpp:\d+$`)

// lastError takes the message of the call that just failed.
func lastError(op string) error {
	if !C.zr_on_thread() {
		return diag.Errorf("mlx/thread", diag.Pos{}, "%s: called from outside of the MLX thread", op)
	}
	text := place.ReplaceAllString(C.GoString(C.zr_message()), "$1")
	C.zr_clear()
	if text == "" {
		text = "failed without a message"
	}
	return diag.Errorf("mlx/op", diag.Pos{}, "%s: %s", op, text)
}
