package client

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"myelin/protocol"
)

// Client keeps one connection to a server. Make one with New.
type Client struct {
	url  string
	opts Options

	calls  *calls
	subs   *registry
	events chan func()   // to the callback goroutine; closed by the loop
	wake   chan struct{} // capacity 1; tells the loop that the registry changed
	ready  chan struct{} // closed after the first successful connect
	ended  chan struct{} // closed when the loop has ended

	stop context.CancelFunc // ends the loop
	ctx  context.Context    // the lifetime of the client itself

	start sync.Once
	wg    sync.WaitGroup
	mu    struct {
		sync.Mutex
		end *Disconnected // why the client has ended
	}
}

// New returns a client for the WebSocket endpoint url, such as
// ws://127.0.0.1:8000/connection/websocket. It does nothing before Connect.
func New(url string, opts Options) (*Client, error) {
	if err := opts.check(url); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	opts = opts.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	return &Client{
		url: url, opts: opts,
		calls:  newCalls(opts.MaxPending),
		subs:   newRegistry(opts.MaxSubscriptions),
		events: make(chan func(), opts.MaxEvents),
		wake:   make(chan struct{}, 1),
		ready:  make(chan struct{}),
		ended:  make(chan struct{}),
		ctx:    ctx, stop: stop,
	}, nil
}

// Connect starts the client, if it is not started, and waits for the first
// successful connect. It returns a *Disconnected if the client has ended, or the
// error of ctx; then the client goes on trying.
func (c *Client) Connect(ctx context.Context) error {
	c.launch()
	select {
	case <-c.ready:
		// Both may be true by now, and the end is what the caller must know.
		select {
		case <-c.ended:
			return c.Err()
		default:
			return nil
		}
	case <-c.ended:
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// launch starts the two goroutines of the client once.
func (c *Client) launch() {
	c.start.Do(func() {
		c.wg.Go(newLoop(c).run)
		c.wg.Go(func() {
			for f := range c.events {
				f()
			}
		})
	})
}

// Close ends the client: it closes the connection, lets the callbacks that are
// due run, and waits for every goroutine. It must not be called from a callback.
func (c *Client) Close() error {
	c.stop()
	c.launch()
	c.wg.Wait()
	return nil
}

// Done is closed when the client has ended, by Close or by a terminal code.
func (c *Client) Done() <-chan struct{} { return c.ended }

// Err says why the client has ended: a *Disconnected, or nil if it has not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.end == nil {
		return nil
	}
	return c.mu.end
}

// Publish publishes data to a channel.
func (c *Client) Publish(ctx context.Context, channel string, data []byte) error {
	if err := checkPayload(c.opts.Protobuf, data); err != nil {
		return err
	}
	_, err := c.do(ctx, &protocol.Command{Publish: &protocol.PublishRequest{Channel: channel, Data: data}})
	return err
}

// RPC calls a method of the server and returns its answer.
func (c *Client) RPC(ctx context.Context, method string, data []byte) ([]byte, error) {
	if err := checkPayload(c.opts.Protobuf, data); err != nil {
		return nil, err
	}
	r, err := c.do(ctx, &protocol.Command{Rpc: &protocol.RPCRequest{Method: method, Data: data}})
	if err != nil {
		return nil, err
	}
	return r.GetRpc().GetData(), nil
}

// Send sends data to the server, which does not answer. It returns once the
// message is on its way.
func (c *Client) Send(ctx context.Context, data []byte) error {
	if err := checkPayload(c.opts.Protobuf, data); err != nil {
		return err
	}
	_, err := c.do(ctx, &protocol.Command{Send: &protocol.SendRequest{Data: data}})
	return err
}

// History reads publications that a channel has kept.
func (c *Client) History(ctx context.Context, channel string, o HistoryOptions) (History, error) {
	req := &protocol.HistoryRequest{Channel: channel, Limit: o.Limit, Reverse: o.Reverse}
	if o.Since != nil {
		req.Since = &protocol.StreamPosition{Offset: o.Since.Offset, Epoch: o.Since.Epoch}
	}
	r, err := c.do(ctx, &protocol.Command{History: req})
	if err != nil {
		return History{}, err
	}
	res := r.GetHistory()
	h := History{Position: Position{Epoch: res.GetEpoch(), Offset: res.GetOffset()}}
	for _, p := range res.GetPublications() {
		h.Publications = append(h.Publications, fromWirePublication(channel, h.Position.Epoch, p))
	}
	return h, nil
}

// Presence returns who is subscribed to a channel, by client id.
func (c *Client) Presence(ctx context.Context, channel string) (map[string]ClientInfo, error) {
	r, err := c.do(ctx, &protocol.Command{Presence: &protocol.PresenceRequest{Channel: channel}})
	if err != nil {
		return nil, err
	}
	present := make(map[string]ClientInfo, len(r.GetPresence().GetPresence()))
	for id, info := range r.GetPresence().GetPresence() {
		present[id] = fromWireInfo(info)
	}
	return present, nil
}

// PresenceStats returns how many are subscribed to a channel.
func (c *Client) PresenceStats(ctx context.Context, channel string) (PresenceStats, error) {
	r, err := c.do(ctx, &protocol.Command{PresenceStats: &protocol.PresenceStatsRequest{Channel: channel}})
	if err != nil {
		return PresenceStats{}, err
	}
	return PresenceStats{
		Clients: r.GetPresenceStats().GetNumClients(),
		Users:   r.GetPresenceStats().GetNumUsers(),
	}, nil
}

// do sends a command and waits for its reply.
func (c *Client) do(ctx context.Context, cmd *protocol.Command) (*protocol.Reply, error) {
	select {
	case c.calls.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.ended:
		return nil, c.Err()
	}
	defer func() { <-c.calls.slots }()
	k := &call{cmd: cmd, done: make(chan outcome, 1)}
	c.calls.submit(k)
	select {
	case out := <-k.done:
		return out.reply, out.err
	case <-ctx.Done():
		c.calls.forget(k)
		return nil, ctx.Err()
	}
}

// checkPayload says whether data can travel in the encoding.
func checkPayload(protobuf bool, data []byte) error {
	if protobuf || len(data) == 0 || json.Valid(data) {
		return nil
	}
	return ErrNotJSON
}
