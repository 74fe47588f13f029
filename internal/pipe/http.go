package pipe

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// Copy sends the header of the response at once and then what goes through p,
// flushing whenever nothing more waits, until the pipe ends (nil) or ctx or
// the client does (an error). Each write and each flush, the first included,
// may take as long as timeout: a client that takes nothing ends it.
func (p *Pipe) Copy(ctx context.Context, w http.ResponseWriter, timeout time.Duration) error {
	rc := http.NewResponseController(w)
	if err := send(rc, w, nil, timeout); err != nil {
		return err
	}
	for {
		b, err := p.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(rc, w, b, timeout); err != nil {
			return err
		}
	}
}

// send writes b and flushes.
func send(rc *http.ResponseController, w http.ResponseWriter, b []byte, timeout time.Duration) error {
	if err := rc.SetWriteDeadline(time.Now().Add(timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if len(b) > 0 {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	if err := rc.Flush(); err != nil {
		return err
	}
	if err := rc.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
