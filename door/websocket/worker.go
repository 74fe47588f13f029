package websocket

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

// workers handles what connections have read, on goroutines whose stacks may
// grow because there are few of them.
type workers struct {
	tasks  chan *task
	slots  chan struct{}
	stop   chan struct{}
	group  sync.WaitGroup
	pool   sync.Pool
	buffer sync.Pool
}

// task is bytes read for a client.
type task struct {
	client *client
	bytes  []byte
	done   chan bool
}

func newWorkers() *workers {
	w := &workers{tasks: make(chan *task), slots: make(chan struct{}, maxWorkers), stop: make(chan struct{})}
	w.pool.New = func() any { return &task{done: make(chan bool, 1)} }
	w.buffer.New = func() any { b := make([]byte, readBytes); return &b }
	return w
}

// feed has a worker handle bytes and waits for it.
func (w *workers) feed(c *client, b []byte) bool {
	t, _ := w.pool.Get().(*task)
	t.client, t.bytes = c, b
	select {
	case w.tasks <- t:
	default:
		w.start(t)
	}
	more := <-t.done
	t.client, t.bytes = nil, nil
	w.pool.Put(t)
	return more
}

// start gives a task to a new worker, or to the next free one where there may
// be no more.
func (w *workers) start(t *task) {
	select {
	case w.slots <- struct{}{}:
		w.group.Go(func() { w.work(t) })
	case w.tasks <- t:
	}
}

func (w *workers) work(t *task) {
	defer func() { <-w.slots }()
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		t.done <- t.client.feed(t.bytes)
		idle.Reset(workerIdle)
		select {
		case t = <-w.tasks:
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
