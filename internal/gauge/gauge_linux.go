package gauge

import (
	"time"

	"golang.org/x/sys/unix"
)

// look asks the kernel.
func (g *Gauge) look(fd uintptr) {
	held, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return
	}
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return
	}
	microseconds := func(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
	g.room = budget(info.Delivery_rate, microseconds(info.Min_rtt), microseconds(info.Rtt)) - held
}
