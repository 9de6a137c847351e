//go:build mlx

package mlx

// #include "bridge.h"
import "C"

// words are the only strings that operations take. They are made once, so that a
// call does not allocate; and no text of a user reaches mlx-c 0.7.0, which hands the
// message of an exception to printf as its format.
var words = func() map[string]*C.char {
	m := map[string]*C.char{}
	for _, w := range []string{"", "causal", "array", "affine", "mxfp4", "mxfp8", "nvfp4", "constant", "edge"} {
		m[w] = C.CString(w)
	}
	return m
}()

func (s *scope) word(op, w string) *C.char {
	c, known := words[w]
	if !known {
		s.refuse(op, "unknown mode %q", w)
		return words[""]
	}
	return c
}
