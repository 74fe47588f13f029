package hub_test

import (
	"testing"
	"time"

	"myelin/hub"
)

// speechless is a form in which there is nothing to say.
type speechless struct{}

func (speechless) AppendEvent(dst []byte, _ *hub.Event) []byte { return dst }

// A connection whose client is told nothing closes at once.
func TestSilentGoodbye(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newStage(t, nil, nil)
		c := s.open(func(o *hub.SessionOptions) { o.Form = speechless{} })
		began := time.Now()
		c.Close(hub.DisconnectConnectionClosed)
		s.settle()
		if !c.closed() || time.Since(began) > 0 {
			t.Errorf("closed: %v, after %v", c.closed(), time.Since(began))
		}
	})
}
