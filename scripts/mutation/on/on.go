// Package on tells instrumented code which mutant is alive. Only copies of packages that
// scripts/mutation makes import it.
package on

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

var (
	alive = number(os.Getenv("MUTANT"))
	trace = os.Getenv("MUTANT_TRACE")

	mu      sync.Mutex
	reached [1 << 14]atomic.Bool
	file    *os.File
)

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// On reports whether mutant n is the one that is alive. With MUTANT_TRACE=FILE it writes
// down which mutants were reached.
func On(n int) bool {
	if trace != "" {
		note(n)
	}
	return n == alive
}

func note(n int) {
	if reached[n].Swap(true) {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	if file == nil {
		var err error
		if file, err = os.OpenFile(trace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
			panic(err)
		}
	}
	if _, err := file.WriteString(strconv.Itoa(n) + "\n"); err != nil {
		panic(err)
	}
}

// Int is x, and one more if mutant n is alive.
func Int[T ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64](n int, x T) T {
	if On(n) {
		return x + 1
	}
	return x
}
