package main

import (
	"strings"
	"testing"
)

// However a text comes in pieces, what is shown of it ends before the first stop word.
func TestStopper(t *testing.T) {
	for _, x := range []struct {
		text, want string
		words      []string
	}{
		{"one two three", "one two three", nil},
		{"one two three", "one ", []string{"two"}},
		{"one two three", "one two three", []string{"twox", "threes"}},
		{"ababac", "ab", []string{"abac"}},
		{"aab", "a", []string{"ab"}},
		{"x\n\nUser: y", "x", []string{"User:", "\n\n"}},
		{"abc", "", []string{"abc", ""}},
		{"END", "", []string{"E", "END"}},
	} {
		for size := 1; size <= len(x.text); size++ {
			s, got := &stopper{words: x.words}, ""
			for i := 0; i < len(x.text) && !s.done; i += size {
				got += s.next(x.text[i:min(i+size, len(x.text))])
				if !strings.HasPrefix(x.want, got) && x.want != got {
					t.Fatalf("%q in pieces of %d: %q is shown", x.text, size, got)
				}
			}
			if got += s.flush(); got != x.want {
				t.Errorf("%q with stop words %q in pieces of %d: %q, want %q", x.text, x.words, size, got, x.want)
			}
		}
	}
}
