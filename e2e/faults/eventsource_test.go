//go:build linux

package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"myelin/e2e/faults/history"
)

// streamSilence is how long a stream may say nothing: a ping comes every two
// seconds.
const streamSilence = 2*time.Second + pingSlack

// eventSource listens by /connection/uni_sse as a browser does: it comes back
// with the id of the last event that it has seen, to whatever node answers.
type eventSource struct {
	logs map[string]*history.SubscriberLog
	url  string
	dial dialer
	// id of the last event.
	id string
}

// byEvents listens to all channels by server-sent events until it is closed.
func byEvents(r *history.Recorder, name string, channels []string, dial dialer) (*subscriber, error) {
	e := &eventSource{
		logs: make(map[string]*history.SubscriberLog), dial: dial,
		url: "http://node/connection/uni_sse?" + url.Values{"channel": channels}.Encode(),
	}
	for _, channel := range channels {
		e.logs[channel] = r.Subscriber(name, "uni_sse", channel)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			err := e.listen(ctx)
			for _, log := range e.logs {
				log.Note(history.Step{Kind: history.Interrupted, Reason: fmt.Sprint(err)})
			}
			rest(ctx, 2*minBackoff)
		}
	})
	return &subscriber{name: name, logs: e.logs, close: func() {
		stop()
		running.Wait()
	}}, nil
}

// listen listens to one stream until it ends.
func (e *eventSource) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A silent stream is as good as none.
	silence := time.AfterFunc(streamSilence, cancel)
	defer silence.Stop()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return e.dial(ctx) }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, nil)
	if err != nil {
		return err
	}
	if e.id != "" {
		req.Header.Set("Last-Event-ID", e.id)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %s", resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	var id string
	for lines.Scan() {
		silence.Reset(streamSilence)
		if word, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = word
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if err := e.hear([]byte(data)); err != nil {
			return err
		}
		// It counts once the whole event is there.
		if id != "" {
			e.id, id = id, ""
		}
	}
	return fmt.Errorf("the stream ended: %w", lines.Err())
}

// pushed is a publication on the wire.
type pushed struct {
	Offset uint64          `json:"offset"`
	Data   json.RawMessage `json:"data"`
}

// hear notes one event.
func (e *eventSource) hear(data []byte) error {
	var event struct {
		Connect *struct {
			Subs map[string]struct {
				Epoch         string   `json:"epoch"`
				Offset        uint64   `json:"offset"`
				WasRecovering bool     `json:"was_recovering"`
				Recovered     bool     `json:"recovered"`
				Publications  []pushed `json:"publications"`
			} `json:"subs"`
		} `json:"connect"`
		Channel     string  `json:"channel"`
		Pub         *pushed `json:"pub"`
		Unsubscribe *struct {
			Code uint32 `json:"code"`
		} `json:"unsubscribe"`
		Disconnect *struct {
			Code uint32 `json:"code"`
		} `json:"disconnect"`
	}
	if err := json.Unmarshal(data, &event); err != nil {
		return err
	}
	switch {
	case event.Connect != nil:
		for channel, sub := range event.Connect.Subs {
			log := e.logs[channel]
			log.Note(history.Step{
				Kind: history.Subscribed, Position: history.Position{Epoch: sub.Epoch, Offset: sub.Offset},
				Recovering: sub.WasRecovering, Recovered: sub.Recovered,
			})
			for _, p := range sub.Publications {
				log.Note(history.Step{Kind: history.Publication, Position: history.Position{Epoch: sub.Epoch, Offset: p.Offset}, ID: idOf(p.Data)})
			}
		}
	case event.Pub != nil:
		log := e.logs[event.Channel]
		log.Note(history.Step{Kind: history.Publication, Position: history.Position{Epoch: log.Epoch(), Offset: event.Pub.Offset}, ID: idOf(event.Pub.Data)})
	case event.Unsubscribe != nil:
		return fmt.Errorf("unsubscribed from %s with %d", event.Channel, event.Unsubscribe.Code)
	case event.Disconnect != nil:
		return fmt.Errorf("sent away with %d", event.Disconnect.Code)
	}
	return nil
}
