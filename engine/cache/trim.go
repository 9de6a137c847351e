package cache

import (
	"fmt"
	"math"
)

// Trimmable returns an error that names what cannot be trimmed: state of one size, which says
// nothing of single tokens.
func (c *Caches) Trimmable() error {
	for _, s := range c.list {
		if s.kind == "" {
			return fmt.Errorf("%s has one size, whatever was said: it cannot forget the last tokens", s.name)
		}
	}
	return nil
}

// Room returns how many tokens may come before a ring is full and forgets its oldest rows,
// behind which Trim has nothing to go back to.
func (c *Caches) Room() int {
	if c.window == 0 {
		return math.MaxInt
	}
	return c.window - c.offset
}

// Trim forgets the last n tokens, as trim_prompt_cache does: their rows are written over. The
// caches are trimmable, and no ring has been full.
func (c *Caches) Trim(n int) {
	n = min(n, c.offset)
	c.offset -= n
	c.next -= n
}
