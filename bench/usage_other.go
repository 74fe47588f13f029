//go:build !linux

package bench

import (
	"errors"
	"time"
)

func ownCPU() (time.Duration, error) { return 0, errors.ErrUnsupported }

func threadCPU() (time.Duration, error) { return 0, errors.ErrUnsupported }

func writeRaw(int, []byte) (int, error) { return 0, errors.ErrUnsupported }
