package consumer

import (
	"fmt"
	"time"

	"myelin/channel"
)

// Where a new consumer begins.
const (
	// StartNew: behind what is there when it is made.
	StartNew = "new"
	// StartFirst: at the first publication that is kept.
	StartFirst = "first"
)

// Bounds of settings.
const (
	// MaxUnacked is the most that one consumer may have taken from its channel.
	MaxUnacked = 10_000
	// MaxAttempts is the most deliveries that may be asked for.
	MaxAttempts = 1000
	// MinAckTimeout and MaxAckTimeout bound how long an acknowledgement may take.
	MinAckTimeout = 100 * time.Millisecond
	MaxAckTimeout = 24 * time.Hour
)

// Settings is how one consumer works. The zero value of a field takes its
// default.
type Settings struct {
	// AckTimeout is how long an acknowledgement may take, 30 s; then the
	// publication is delivered again.
	AckTimeout time.Duration `json:"ack_timeout"`
	// MaxUnacked is how many publications may be taken and not settled, 100;
	// MaxPerSession how many of them one seat may have, as many.
	MaxUnacked    int `json:"max_unacked"`
	MaxPerSession int `json:"max_per_session"`
	// MaxAttempts is after how many deliveries a publication goes to the
	// channel DeadLetter; 0 is never. Without DeadLetter it has to be 0: nothing
	// that can be delivered still is thrown away.
	MaxAttempts int    `json:"max_attempts"`
	DeadLetter  string `json:"dead_letter"`
	// Ordered: one publication at a time, in order. Exclusive: one seat does
	// the work, the others stand by.
	Ordered   bool `json:"ordered"`
	Exclusive bool `json:"exclusive"`
}

func (s Settings) withDefaults() Settings {
	if s.AckTimeout == 0 {
		s.AckTimeout = 30 * time.Second
	}
	if s.MaxUnacked == 0 {
		s.MaxUnacked = 100
	}
	if s.MaxPerSession == 0 {
		s.MaxPerSession = s.MaxUnacked
	}
	return s
}

// check returns nil for settings that can be worked by.
func (s *Settings) check() error {
	bad := func(format string, args ...any) error {
		return channel.ErrBadRequest.With(fmt.Sprintf(format, args...))
	}
	switch {
	case s.AckTimeout < MinAckTimeout || s.AckTimeout > MaxAckTimeout:
		return bad("ack_timeout is %v, it may be %v to %v", s.AckTimeout, MinAckTimeout, MaxAckTimeout)
	case s.MaxUnacked < 1 || s.MaxUnacked > MaxUnacked:
		return bad("max_unacked is %d, it may be 1 to %d", s.MaxUnacked, MaxUnacked)
	case s.MaxPerSession < 1 || s.MaxPerSession > s.MaxUnacked:
		return bad("max_per_session is %d, it may be 1 to max_unacked, which is %d", s.MaxPerSession, s.MaxUnacked)
	case s.MaxAttempts < 0 || s.MaxAttempts > MaxAttempts:
		return bad("max_attempts is %d, it may be 0, for no end, to %d", s.MaxAttempts, MaxAttempts)
	case s.MaxAttempts > 0 && s.DeadLetter == "":
		return bad("max_attempts needs dead_letter, a channel for what is given up; leave it out to deliver until it is acknowledged")
	}
	return nil
}
