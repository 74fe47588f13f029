package swarm

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// spareDescriptors is how many files the process may need beside its members.
const spareDescriptors = 128

// errAgain says that a socket has nothing to read or no room to write.
const errAgain = unix.EAGAIN

// dialSocket starts to connect; the socket becomes writable when it is done.
func dialSocket(to netip.AddrPort) (fd int, err error) {
	family := unix.AF_INET6
	var address unix.Sockaddr
	if ip := to.Addr().Unmap(); ip.Is4() {
		family = unix.AF_INET
		address = &unix.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()}
	} else {
		address = &unix.SockaddrInet6{Port: int(to.Port()), Addr: ip.As16()}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, errors.Join(fmt.Errorf("TCP_NODELAY: %w", err), unix.Close(fd))
	}
	if err := unix.Connect(fd, address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return -1, errors.Join(fmt.Errorf("connect: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// dialResult says how connecting ended.
func dialResult(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return fmt.Errorf("SO_ERROR: %w", err)
	}
	if code != 0 {
		return fmt.Errorf("connect: %w", unix.Errno(code))
	}
	return nil
}

func readSocket(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func writeSocket(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Write(fd, b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// resetSocket closes with a TCP reset, which leaves no port in TIME_WAIT.
func resetSocket(fd int) error {
	linger := unix.Linger{Onoff: 1, Linger: 0}
	return errors.Join(unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger), unix.Close(fd))
}

// checkDescriptors says whether the process may open that many more files. The
// Go runtime has already raised the soft limit to the hard one.
func checkDescriptors(members int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	if need := uint64(members + spareDescriptors); need > limit.Cur {
		return fmt.Errorf("%d connections need %d open files, the limit is %d: raise it with ulimit -n", members, need, limit.Cur)
	}
	return nil
}
