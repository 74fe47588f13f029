//go:build !linux

package swarm

import (
	"errors"
	"fmt"
	"net/netip"
)

// wakeKey is the index under which the poller watches its own bell.
const wakeKey = -1

// errAgain says that a socket has nothing to read or no room to write.
var errAgain = errors.ErrUnsupported

// poller exists where epoll does not, so that everything compiles; none is
// ever made, and no other function here is ever reached.
type poller struct{}

// event is one socket that has something to say.
type event struct {
	index      int32
	generation int32
	readable   bool
	writable   bool
}

func newPoller() (*poller, error) {
	return nil, fmt.Errorf("the load generator needs epoll and runs on Linux only: %w", errors.ErrUnsupported)
}

func (*poller) close() error                  { return errors.ErrUnsupported }
func (*poller) add(int, event, bool) error    { return errors.ErrUnsupported }
func (*poller) change(int, event, bool) error { return errors.ErrUnsupported }
func (*poller) wait() (int, error)            { return 0, errors.ErrUnsupported }
func (*poller) event(int) event               { return event{} }
func (*poller) wake()                         {}
func (*poller) woken()                        {}

func dialSocket(netip.AddrPort) (int, error) { return -1, errors.ErrUnsupported }
func dialResult(int) error                   { return errors.ErrUnsupported }
func readSocket(int, []byte) (int, error)    { return 0, errors.ErrUnsupported }
func writeSocket(int, []byte) (int, error)   { return 0, errors.ErrUnsupported }
func resetSocket(int) error                  { return errors.ErrUnsupported }
func checkDescriptors(int) error             { return errors.ErrUnsupported }
