package disk_test

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// slowFS is a disk whose syncs can be held.
type slowFS struct {
	vfs.FS
	mu struct {
		sync.Mutex
		held chan struct{}
	}
	waiting atomic.Int64
}

func newSlowFS() *slowFS {
	s := &slowFS{}
	s.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		default:
			return nil
		}
		s.mu.Lock()
		held := s.mu.held
		s.mu.Unlock()
		if held != nil {
			s.waiting.Add(1)
			<-held
		}
		return nil
	}))
	return s
}

// hold holds all syncs until the returned function is called.
func (s *slowFS) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.mu.held = held
	return func() {
		s.mu.Lock()
		s.mu.held = nil
		s.mu.Unlock()
		close(held)
	}
}

// awaitHeld waits until somebody is held.
func (s *slowFS) awaitHeld(tb testing.TB) {
	tb.Helper()
	eventually(tb, "a sync that is held", func() bool { return s.waiting.Load() > 0 })
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// failingFS is a disk that fails as a test says.
type failingFS struct {
	vfs.FS
	fail atomic.Pointer[func(op errorfs.Op) error]
}

func newFailingFS(below vfs.FS) *failingFS {
	f := &failingFS{}
	f.FS = errorfs.Wrap(below, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fail := f.fail.Load(); fail != nil {
			return (*fail)(op)
		}
		return nil
	}))
	return f
}

// begin has the disk fail, end has it work again.
func (f *failingFS) begin(fail func(op errorfs.Op) error) { f.fail.Store(&fail) }
func (f *failingFS) end()                                 { f.fail.Store(nil) }

// full is a disk without room.
func full(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate, errorfs.OpReuseForWrite:
		return syscall.ENOSPC
	default:
		return nil
	}
}
