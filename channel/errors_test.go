package channel_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"myelin/channel"
)

// table is the table of codes as it is on the wire. Lines are added to it,
// never changed or taken out.
func table() []string {
	return []string{
		"100 internal server error, temporary",
		"101 unauthorized",
		"102 unknown channel",
		"103 permission denied",
		"104 method not found",
		"105 already subscribed",
		"106 limit exceeded",
		"107 bad request",
		"108 not available",
		"109 token expired",
		"110 expired",
		"111 too many requests, temporary",
		"112 unrecoverable position",
		"113 concurrent pagination, temporary",
		"1000 engine unavailable, temporary",
		"1001 conflict",
		"1002 unknown outcome, temporary",
		"1003 unsupported",
		"1004 too large",
		"1005 not subscribed",
	}
}

func sentinels() []*channel.Error {
	return []*channel.Error{
		channel.ErrInternal, channel.ErrUnauthorized, channel.ErrUnknownChannel, channel.ErrPermissionDenied,
		channel.ErrMethodNotFound, channel.ErrAlreadySubscribed, channel.ErrLimitExceeded, channel.ErrBadRequest,
		channel.ErrNotAvailable, channel.ErrTokenExpired, channel.ErrExpired, channel.ErrTooManyRequests,
		channel.ErrUnrecoverable, channel.ErrConcurrentPages, channel.ErrUnavailable, channel.ErrConflict,
		channel.ErrUnknownOutcome, channel.ErrUnsupported, channel.ErrTooLarge, channel.ErrNotSubscribed,
	}
}

func TestCodesAreAppendedOnly(t *testing.T) {
	all, want := sentinels(), table()
	if len(all) != len(want) {
		t.Fatalf("%d sentinels, %d lines in the table", len(all), len(want))
	}
	for i, e := range all {
		line := fmt.Sprintf("%d %s", e.Code, e.Message)
		if e.Temporary {
			line += ", temporary"
		}
		if line != want[i] {
			t.Errorf("%q, want %q", line, want[i])
		}
		for j, other := range all {
			if errors.Is(e, other) != (i == j) {
				t.Errorf("errors.Is(%v, %v) is %v", e, other, i != j)
			}
		}
	}
}

func TestErrorDetail(t *testing.T) {
	cause := fmt.Errorf("reading the disk: %w", io.ErrUnexpectedEOF)
	e := channel.ErrUnavailable.With("try again in a second").Wrap(cause)
	if e.Error() != "engine unavailable: try again in a second: reading the disk: unexpected EOF" {
		t.Errorf("message %q", e)
	}
	wrapped := fmt.Errorf("publish: %w", e)
	if !errors.Is(wrapped, channel.ErrUnavailable) || !errors.Is(wrapped, io.ErrUnexpectedEOF) || errors.Is(wrapped, channel.ErrInternal) {
		t.Errorf("%v is not what it should be", wrapped)
	}
	if got, ok := errors.AsType[*channel.Error](wrapped); !ok || got != e || !got.Temporary {
		t.Errorf("%v holds %v", wrapped, got)
	}
	if channel.ErrUnavailable.Message != "engine unavailable" || channel.ErrUnavailable.Err != nil {
		t.Error("With and Wrap changed the sentinel")
	}
}

func TestPublicTellsNoCause(t *testing.T) {
	secret := errors.New("/var/lib/secret: permission denied")
	for _, c := range []struct {
		err  error
		want string
	}{
		{channel.ErrConflict.With("key k"), "conflict: key k"},
		{channel.ErrUnavailable.With("later").Wrap(secret), "engine unavailable: later"},
		{fmt.Errorf("engine: %w", channel.ErrTooLarge.Wrap(secret)), "too large"},
		{secret, "internal server error"},
	} {
		if got := channel.Public(c.err); got.Error() != c.want || got.Err != nil {
			t.Errorf("Public(%v) = %v, want %q", c.err, got, c.want)
		}
	}
	conflict := channel.ErrConflict.Wrap(secret)
	conflict.Current = 7
	if got := channel.Public(conflict); got.Current != 7 || conflict.Err == nil {
		t.Errorf("Public(%v) = %+v", conflict, got)
	}
}

func TestZeroPosition(t *testing.T) {
	for at, want := range map[channel.Position]bool{
		{}:                      true,
		{Epoch: "e"}:            false,
		{Offset: 1}:             false,
		{Epoch: "e", Offset: 1}: false,
	} {
		if at.IsZero() != want {
			t.Errorf("%+v is zero: %v", at, !want)
		}
	}
	if p := (&channel.Policy{}); p.Recoverable() {
		t.Error("a channel without history is recoverable")
	}
	if p := (&channel.Policy{HistorySize: 1}); !p.Recoverable() {
		t.Error("a channel with a history of one is not recoverable")
	}
}
