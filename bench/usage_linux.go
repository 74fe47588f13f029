package bench

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ownCPU is the CPU time of the generator itself.
func ownCPU() (time.Duration, error) {
	return clock(unix.CLOCK_PROCESS_CPUTIME_ID)
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() (time.Duration, error) {
	return clock(unix.CLOCK_THREAD_CPUTIME_ID)
}

func clock(id int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0, fmt.Errorf("clock_gettime: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// writeRaw is one write system call.
func writeRaw(fd int, b []byte) (int, error) {
	return unix.Write(fd, b)
}
