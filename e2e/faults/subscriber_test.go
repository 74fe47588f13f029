//go:build linux

package faults

import (
	"context"
	"fmt"
	"net"
	"time"

	centrifuge "github.com/centrifugal/centrifuge-go"

	"myelin/client"
	"myelin/e2e/faults/history"
)

// dialer connects a client to some node.
type dialer func(ctx context.Context) (net.Conn, error)

// How clients come back.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 500 * time.Millisecond
	// pingSlack is how late a ping may be, which comes every two seconds, a
	// second later at most, and later where the machine is busy.
	pingSlack = 3 * time.Second
	// maxMissed is how much a client's queues take.
	maxMissed = 1 << 16
)

// a subscriber listens to all channels until it is closed.
type subscriber struct {
	name  string
	logs  map[string]*history.SubscriberLog
	close func()
}

func position(p client.Position) history.Position {
	return history.Position{Epoch: p.Epoch, Offset: p.Offset}
}

// ours listens with the client of this repository.
func ours(r *history.Recorder, name string, protobuf bool, channels []string, dial dialer) (*subscriber, error) {
	s := &subscriber{name: name, logs: make(map[string]*history.SubscriberLog)}
	c, err := client.New("ws://node/connection/websocket", client.Options{
		Protobuf: protobuf, MinBackoff: minBackoff, MaxBackoff: maxBackoff, PingSlack: pingSlack, MaxEvents: maxMissed,
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) },
		Handlers: client.Handlers{OnConnecting: func(code uint32, reason string) {
			for _, log := range s.logs {
				log.Note(history.Step{Kind: history.Interrupted, Reason: fmt.Sprintf("%d %s", code, reason)})
			}
		}},
	})
	if err != nil {
		return nil, err
	}
	s.close = func() { _ = c.Close() }
	for _, channel := range channels {
		log := r.Subscriber(name, doorName("client", protobuf), channel)
		s.logs[channel] = log
		if _, err := c.Subscribe(channel, client.SubOptions{
			Recover: true,
			OnSubscribed: func(i client.SubscribedInfo) {
				log.Note(history.Step{Kind: history.Subscribed, Position: position(i.Position), Recovering: i.WasRecovering, Recovered: i.Recovered})
			},
			OnPublication: func(p client.Publication) {
				log.Note(history.Step{Kind: history.Publication, Position: position(p.Position), ID: idOf(p.Data)})
			},
			OnUnsubscribed: func(code uint32, reason string) {
				log.Note(history.Step{Kind: history.Interrupted, Reason: fmt.Sprintf("unsubscribed %d %s", code, reason)})
			},
		}); err != nil {
			s.close()
			return nil, err
		}
	}
	// The first connect may take as long as it likes: it is tried for ever.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.Connect(ctx)
	return s, nil
}

// theirs listens with the public Go client, which nobody here wrote.
func theirs(r *history.Recorder, name string, protobuf bool, channels []string, dial dialer) (*subscriber, error) {
	config := centrifuge.Config{
		MinReconnectDelay: minBackoff, MaxReconnectDelay: maxBackoff, MaxServerPingDelay: pingSlack,
		NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}
	c := centrifuge.NewJsonClient("ws://node/connection/websocket", config)
	if protobuf {
		c = centrifuge.NewProtobufClient("ws://node/connection/websocket", config)
	}
	s := &subscriber{name: name, logs: make(map[string]*history.SubscriberLog), close: c.Close}
	for _, channel := range channels {
		log := r.Subscriber(name, doorName("centrifuge-go", protobuf), channel)
		s.logs[channel] = log
		sub, err := c.NewSubscription(channel, centrifuge.SubscriptionConfig{
			Recoverable: true, Positioned: true, MinResubscribeDelay: minBackoff, MaxResubscribeDelay: maxBackoff,
		})
		if err != nil {
			c.Close()
			return nil, err
		}
		listen(sub, log)
		if err := sub.Subscribe(); err != nil {
			c.Close()
			return nil, err
		}
	}
	if err := c.Connect(); err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// listen notes what a subscription of the public client sees.
func listen(sub *centrifuge.Subscription, log *history.SubscriberLog) {
	sub.OnSubscribed(func(e centrifuge.SubscribedEvent) {
		step := history.Step{Kind: history.Subscribed, Recovering: e.WasRecovering, Recovered: e.Recovered}
		if e.StreamPosition != nil {
			step.Position = history.Position{Epoch: e.StreamPosition.Epoch, Offset: e.StreamPosition.Offset}
		}
		log.Note(step)
	})
	sub.OnPublication(func(e centrifuge.PublicationEvent) {
		log.Note(history.Step{Kind: history.Publication, Position: history.Position{Epoch: log.Epoch(), Offset: e.Offset}, ID: idOf(e.Data)})
	})
	sub.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) {
		log.Note(history.Step{Kind: history.Interrupted, Reason: fmt.Sprintf("unsubscribed %d %s", e.Code, e.Reason)})
	})
}

func doorName(name string, protobuf bool) string {
	if protobuf {
		return name + " protobuf"
	}
	return name + " json"
}
