package socket

import (
	"sync"
	"time"
)

// Bounds of the worker pool.
const (
	// maxWorkers is how many messages are handled at once; each may wait for
	// an engine.
	maxWorkers = 4096
	// workerIdle is how long a worker without work stays.
	workerIdle = 10 * time.Second
	// readBytes is how much is read at once.
	readBytes = 4 << 10
)

// workers handles what connections bring, on goroutines whose stacks may grow
// because there are few of them.
type workers struct {
	tasks chan *socket
	slots chan struct{}
	stop  chan struct{}
	group sync.WaitGroup
}

func newWorkers() *workers {
	return &workers{tasks: make(chan *socket), slots: make(chan struct{}, maxWorkers), stop: make(chan struct{})}
}

// do has a worker do what a socket has to do, waits for it, and returns its
// answer. The caller holds the socket's turn.
func (w *workers) do(s *socket) bool {
	select {
	case w.tasks <- s:
	default:
		w.start(s)
	}
	s.turn.Lock()
	return s.going
}

// start gives a socket to a new worker, or to the next free one where there
// may be no more.
func (w *workers) start(s *socket) {
	select {
	case w.slots <- struct{}{}:
		w.group.Go(func() { w.work(s) })
	case w.tasks <- s:
	}
}

func (w *workers) work(s *socket) {
	defer func() { <-w.slots }()
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	buf := make([]byte, readBytes)
	for {
		s.going = s.work(buf)
		s.turn.Unlock()
		idle.Reset(workerIdle)
		select {
		case s = <-w.tasks:
		case <-idle.C:
			return
		case <-w.stop:
			return
		}
	}
}

func (w *workers) close() {
	close(w.stop)
	w.group.Wait()
}
