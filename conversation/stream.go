package conversation

import (
	"errors"
	"net/http"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
	"myelin/internal/gauge"
	"myelin/internal/pipe"
	"myelin/observe"
	"myelin/protocol"
)

// Bounds of a stream.
const (
	// streamBytes is how much may wait for a stream's reader here; as much
	// again is being written.
	streamBytes = 16 << 10
	// streamTimeout is how long one write may take.
	streamTimeout = 10 * time.Second
	// openingSlack is what an opening may hold beside a message.
	openingSlack = 32 << 10
)

// Stream answers HTTP requests with one long response each. It is what the
// doors have in common that bring messages out that way; they differ in how
// their messages are framed.
//
// A request brings what begins the conversation: the first commands of a
// client that talks, which goes on by Host.Emulate, or the connect request of
// one that only listens. A listener that is refused gets an HTTP error and no
// stream.
type Stream struct {
	Host *Host
	// OneWay: the clients only listen.
	OneWay bool
	// Name is that of the transport, as hooks are told.
	Name    string
	Metrics *observe.Door
}

// Look is how the response to one request looks.
type Look struct {
	Wire        *Wire
	ContentType string
	// Resumable: messages of listeners carry resume tokens.
	Resumable bool
	// Begin goes out before the first message.
	Begin []byte
}

// Serve lives as long as the stream.
func (s *Stream) Serve(w http.ResponseWriter, r *http.Request, look Look) {
	if err := s.serve(w, r, look); err != nil {
		s.Metrics.Refused.Inc()
		Refuse(w, err)
	}
}

// serve returns an error while the request can still be refused.
func (s *Stream) serve(w http.ResponseWriter, r *http.Request, look Look) error {
	q, err := Query(r)
	if err != nil {
		return err
	}
	first, err := opening(w, r, q, s.Host.Limits().MessageBytes+openingSlack)
	switch {
	case err != nil:
		return err
	case r.Method == http.MethodGet && !s.OneWay && !onlyConnect(look.Wire.format, first):
		// A page of another site can have a browser send a GET.
		return channel.ErrBadRequest.With("a GET brings one connect command; send the others to /emulation")
	case len(first) == 0 && !s.OneWay:
		return channel.ErrBadRequest.With("a connect command is needed, in the body of a POST or the parameter " + paramConnect)
	}
	out := pipe.New(max(streamBytes, len(look.Begin)), gauge.Of(r.Context()))
	_, _ = out.WriteNow(look.Begin) // fits
	conv, err := s.Host.Open(Transport{
		Conn: out, Wire: look.Wire, Emulated: !s.OneWay, Resumable: s.OneWay && look.Resumable,
		Address: auth.AddressOf(r), About: s.Host.About(s.Name, r, look.Wire),
	})
	if err != nil {
		return err
	}
	defer conv.Close(hub.DisconnectConnectionClosed)
	if s.OneWay {
		req, err := OneWayRequest(look.Wire.format, first, q)
		if err != nil {
			return err
		}
		if err := conv.ConnectOneWay(req, lastEventID(r, q)); err != nil {
			return err
		}
	} else {
		conv.Handle(first)
	}
	s.Metrics.Opened.Inc()
	s.Metrics.BytesIn.Add(int64(len(first)))
	s.Metrics.Connections.Add(1)
	defer s.Metrics.Connections.Add(-1)
	h := w.Header()
	h.Set("Content-Type", look.ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	// The server's deadline is for requests, and this one has been read.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	_ = out.Copy(r.Context(), counted{w, s.Metrics.BytesOut}, streamTimeout) // ends with the client
	return nil
}

// onlyConnect reports whether a frame holds no command but one connect, or
// nothing that could be one.
func onlyConnect(f protocol.Format, frame []byte) bool {
	n := 0
	err := protocol.DecodeCommands(f, frame, func(c *protocol.Command) error {
		n++
		if n > 1 || c.Connect == nil {
			return errNotConnect
		}
		return nil
	})
	return !errors.Is(err, errNotConnect)
}

var errNotConnect = errors.New("another command than connect")

// counted counts what is written.
type counted struct {
	http.ResponseWriter
	bytes *observe.Counter
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// Unwrap lets a ResponseController find the writer below.
func (c counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
