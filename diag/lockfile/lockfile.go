// Package lockfile keeps two processes from writing the same file in turns. A lock is held by
// the process, not by the file: the system lets go of it when the process ends, however it
// does (flock, on Linux and macOS alike), so what a killed one leaves is no lock.
//
// It locks nothing against writers that do not ask for the lock.
package lockfile

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zmlx-rewrite/diag/outfile"
)

// Ending is that of the file beside the one that is locked.
const Ending = ".lock"

// A Lock is held until Release, or the end of the process.
type Lock struct {
	f    *os.File
	path string
}

// Held is the error of a lock that somebody else has.
type Held struct {
	By string // what it says of itself; empty if it has not said anything yet
}

func (h *Held) Error() string {
	if h.By == "" {
		return "is in use by another process"
	}
	return "is in use by " + h.By
}

// Take locks a file, which need not exist, and says who has it. The lock is on a file of its own beside
// it, since writers put a new file in the place of the old one. An error is *Held if it is
// somebody else's.
func Take(file, who string) (*Lock, error) {
	target, err := outfile.Target(file)
	if err != nil {
		return nil, err
	}
	path := target + Ending
	for range 100 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		if err := flock(f); err != nil {
			defer f.Close()
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("%s cannot be locked: %w", path, err)
			}
			by, _ := io.ReadAll(io.LimitReader(f, 1024))
			return nil, &Held{By: strings.TrimSpace(string(by))}
		}
		// Whoever had it may have removed the file between the two: then this lock is on a
		// file that nobody finds any more.
		if mine, err := f.Stat(); err == nil {
			if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
				l := &Lock{f, path}
				if err := l.say(who); err != nil {
					l.Release()
					return nil, err
				}
				return l, nil
			}
		}
		f.Close()
	}
	return nil, fmt.Errorf("%s %w", path, errFleeting)
}

// Wait is Take for files that nobody has for long: it asks again until the lock is free, at most
// for that time. The error is *Held if it was not.
func Wait(file, who string, atMost time.Duration) (*Lock, error) {
	for end := time.Now().Add(atMost); ; time.Sleep(time.Millisecond + rand.N(4*time.Millisecond)) {
		l, err := Take(file, who)
		held := (*Held)(nil)
		if !errors.As(err, &held) && !errors.Is(err, errFleeting) || time.Now().After(end) {
			return l, err
		}
	}
}

// errFleeting is that of a lock that many others take and release.
var errFleeting = errors.New("comes and goes")

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (l *Lock) say(who string) error {
	err := l.f.Truncate(0)
	if err == nil {
		_, err = l.f.WriteAt([]byte(who+"\n"), 0)
	}
	return err
}

// Release lets go of the lock, and removes its file first: nobody can have it yet.
func (l *Lock) Release() {
	os.Remove(l.path)
	l.f.Close()
}
