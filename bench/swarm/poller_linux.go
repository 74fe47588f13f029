package swarm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// pollBatch is how many events one wait may return.
const pollBatch = 256

// wakeKey is the index under which the poller watches its own eventfd.
const wakeKey = -1

// poller waits for many sockets with epoll, level triggered. All but wake
// belong to the loop's goroutine.
type poller struct {
	events []unix.EpollEvent
	epoll  int
	bell   int // an eventfd
}

// event is one socket that has something to say.
type event struct {
	index      int32
	generation int32
	readable   bool
	writable   bool
}

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(epoll))
	}
	p := &poller{epoll: epoll, bell: bell, events: make([]unix.EpollEvent, pollBatch)}
	if err := p.watch(unix.EPOLL_CTL_ADD, bell, event{index: wakeKey}, false); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *poller) close() error {
	return errors.Join(unix.Close(p.epoll), unix.Close(p.bell))
}

// add starts to watch a socket, for writing too when asked.
func (p *poller) add(fd int, key event, writing bool) error {
	return p.watch(unix.EPOLL_CTL_ADD, fd, key, writing)
}

// change says anew whether to watch for writing. A closed socket is forgotten
// by the kernel and needs no call.
func (p *poller) change(fd int, key event, writing bool) error {
	return p.watch(unix.EPOLL_CTL_MOD, fd, key, writing)
}

func (p *poller) watch(op, fd int, key event, writing bool) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: key.index, Pad: key.generation}
	if writing {
		e.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(p.epoll, op, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wait blocks until something happened and returns how many events there are.
func (p *poller) wait() (int, error) {
	n, err := unix.EpollWait(p.epoll, p.events, -1)
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return 0, nil
		}
		return 0, fmt.Errorf("epoll_wait: %w", err)
	}
	return n, nil
}

// event returns the i-th event of the last wait. A socket that broke is
// readable and writable: trying says what is wrong.
func (p *poller) event(i int) event {
	e := &p.events[i]
	broken := e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0
	return event{
		index:      e.Fd,
		generation: e.Pad,
		readable:   broken || e.Events&unix.EPOLLIN != 0,
		writable:   broken || e.Events&unix.EPOLLOUT != 0,
	}
}

// wake makes wait return; any goroutine may call it. The counter cannot
// overflow, and a full one would have woken the loop just as well.
func (p *poller) wake() {
	_, _ = unix.Write(p.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// woken takes back what wake did.
func (p *poller) woken() {
	var count [8]byte
	_, _ = unix.Read(p.bell, count[:])
}
