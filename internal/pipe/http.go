package pipe

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// Copy sends what goes through p to w, flushing whenever nothing more waits,
// until the pipe ends (nil) or ctx or the client does (an error). Each write
// may take as long as timeout.
func (p *Pipe) Copy(ctx context.Context, w http.ResponseWriter, timeout time.Duration) error {
	rc := http.NewResponseController(w)
	for {
		b, err := p.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := rc.SetWriteDeadline(time.Now().Add(timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if err := rc.Flush(); err != nil {
			return err
		}
		if err := rc.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
}
