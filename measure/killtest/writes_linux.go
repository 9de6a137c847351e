package killtest

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// RunAtWrites is Run for commands that work long and write little: it kills when something has
// happened to a file in a folder, after a random number of such events (made, opened, written to,
// closed, renamed, removed), at most as many as there are in a whole run.
func RunAtWrites(t *testing.T, times int, dir string, command func() *exec.Cmd, after func(kill int, finished bool)) {
	t.Helper()
	run(t, times, command, &byWrites{r: rand.New(rand.NewPCG(3, 4)), dir: dir}, after)
}

type byWrites struct {
	r       *rand.Rand
	dir     string
	most    int      // events of a run
	watch   *os.File // one for each command, so that what the test itself does is not counted
	counted chan int
}

func (m *byWrites) ready() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	m.watch = os.NewFile(uintptr(fd), "inotify")
	_, err = unix.InotifyAddWatch(fd, m.dir, unix.IN_CREATE|unix.IN_OPEN|unix.IN_MODIFY|unix.IN_ATTRIB|unix.IN_CLOSE_WRITE|unix.IN_MOVE|unix.IN_DELETE)
	return err
}

func (m *byWrites) started(cmd *exec.Cmd, kill bool) {
	at := -1
	if kill && m.most > 0 {
		at = 1 + m.r.IntN(m.most)
	}
	m.counted = make(chan int, 1)
	watch, counted := m.watch, m.counted
	go func() {
		n, buf := 0, make([]byte, 1<<14)
		for {
			read, err := watch.Read(buf)
			if err != nil { // it was closed
				counted <- n
				return
			}
			for b := buf[:read]; len(b) >= unix.SizeofInotifyEvent; {
				if n++; n == at {
					cmd.Process.Kill()
				}
				name := binary.NativeEndian.Uint32(b[12:])
				b = b[unix.SizeofInotifyEvent+name:]
			}
		}
	}()
}

func (m *byWrites) ended(bool) {
	m.watch.Close()
	m.most = max(m.most, <-m.counted)
}
