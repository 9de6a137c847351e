package main

import "strings"

// stopper ends a text before the first of some words. What may be the beginning of one is
// held back.
type stopper struct {
	words []string
	held  string
	done  bool
}

// next takes a piece of the text and returns what can be shown of it.
func (s *stopper) next(piece string) string {
	if s.done {
		return ""
	}
	s.held += piece
	first := -1
	for _, w := range s.words {
		if i := strings.Index(s.held, w); w != "" && i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	if first >= 0 {
		s.done = true
		return s.take(first)
	}
	keep := 0
	for _, w := range s.words {
		for n := min(len(w)-1, len(s.held)); n > keep; n-- {
			if strings.HasSuffix(s.held, w[:n]) {
				keep = n
				break
			}
		}
	}
	return s.take(len(s.held) - keep)
}

// flush returns what was held back, once the text has ended.
func (s *stopper) flush() string {
	if s.done {
		return ""
	}
	return s.take(len(s.held))
}

func (s *stopper) take(n int) string {
	out := s.held[:n]
	s.held = s.held[n:]
	return out
}
