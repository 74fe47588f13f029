package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"myelin/client"
)

// maxLine is the longest line that pub reads.
const maxLine = 1 << 20

// connectFlags say which server to talk to.
type connectFlags struct {
	URL   string `env:"MYELIN_URL" default:"ws://127.0.0.1:8000/connection/websocket" help:"WebSocket endpoint of the server."`
	Token string `env:"MYELIN_TOKEN" help:"Connection token."`
}

// dial connects. A server that cannot be reached is an error, not a wait: the
// client would go on trying, as it does once it was connected.
func (f *connectFlags) dial(ctx context.Context, h client.Handlers) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	h.OnError = func(err error) { giveUp(err) }
	c, err := client.New(f.URL, client.Options{Token: f.Token, Name: "myelin-cli", Handlers: h})
	if err != nil {
		return nil, asUsage(err)
	}
	if err := c.Connect(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		_ = c.Close()
		return nil, f.explain(err)
	}
	return c, nil
}

// explain says what may be the matter when there is no connection.
func (f *connectFlags) explain(err error) error {
	switch _, answered := errors.AsType[*client.Disconnected](err); {
	case answered:
		return fmt.Errorf("%s: %w", f.URL, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w (is the server running? \"myelin serve --dev\" starts one)", err)
	case !strings.Contains(f.URL, "/connection/"):
		return fmt.Errorf("%w (is the path right? it should be /connection/websocket)", err)
	}
	return err
}

// pubCommand publishes.
type pubCommand struct {
	connectFlags
	Channel string  `arg:"" help:"Channel to publish to."`
	Data    *string `arg:"" optional:"" help:"JSON to publish; other text is published as a JSON string. Without it each line of standard input is one publication."`
	ID      string  `help:"Message id: publishing it again within the server's window does nothing."`
	Quiet   bool    `short:"q" help:"Do not print positions."`
}

// Run publishes one value, or one for each line.
func (c *pubCommand) Run(ctx context.Context, s streams) error {
	conn, err := c.dial(ctx, client.Handlers{})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if c.Data != nil {
		return c.publish(ctx, s, conn, []byte(*c.Data), c.ID)
	}
	lines := bufio.NewScanner(s.in)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		id := ""
		if c.ID != "" {
			id = c.ID + "-" + strconv.Itoa(n)
		}
		if err := c.publish(ctx, s, conn, line, id); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

func (c *pubCommand) publish(ctx context.Context, s streams, conn *client.Client, data []byte, id string) error {
	if !json.Valid(data) {
		quoted, err := json.Marshal(string(data))
		if err != nil {
			return err
		}
		data = quoted
	}
	req, err := json.Marshal(struct {
		Channel string          `json:"channel"`
		Data    json.RawMessage `json:"data"`
		ID      string          `json:"id,omitempty"`
	}{c.Channel, data, id})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ack, err := conn.RPC(ctx, "myelin.publish", req)
	if err != nil || c.Quiet {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n", ack)
	return err
}

// subCommand listens.
type subCommand struct {
	connectFlags
	Channels []string `arg:"" name:"channel" help:"Channels to listen to."`
	Count    int      `short:"n" help:"Stop after so many publications. Without it: when interrupted."`
	Since    string   `help:"Begin after this position of the (single) channel: EPOCH:OFFSET." placeholder:"EPOCH:OFFSET"`
	Data     bool     `help:"Print only the data of each publication."`
}

// Run prints one line of JSON for each publication.
func (c *subCommand) Run(ctx context.Context, s streams) error {
	since, err := c.since()
	if err != nil {
		return asUsage(err)
	}
	if c.Count < 0 {
		return usageError{fmt.Errorf("-n wants a number of publications, it is %d", c.Count)}
	}
	done := make(chan error, 1)
	finish := func(err error) {
		select {
		case done <- err:
		default:
		}
	}
	conn, err := c.dial(ctx, client.Handlers{OnDisconnected: func(d client.Disconnected) { finish(&d) }})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	left := c.Count
	for _, name := range c.Channels {
		o := client.SubOptions{
			Recover: true, Since: since,
			OnSubscribed: func(i client.SubscribedInfo) {
				if i.WasRecovering && !i.Recovered {
					fmt.Fprintf(s.err, "myelin: %s: what was missed could not be recovered\n", name)
				}
			},
			OnPublication: func(p client.Publication) {
				if c.Count > 0 && left == 0 {
					return // more has come than was asked for
				}
				if err := c.print(s, name, p); err != nil {
					finish(err)
				}
				if left--; left == 0 {
					finish(nil)
				}
			},
			OnUnsubscribed: func(code uint32, reason string) {
				finish(fmt.Errorf("%s: %d %s", name, code, reason))
			},
		}
		if _, err := conn.Subscribe(name, o); err != nil {
			return err
		}
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return nil
	}
}

// since reads --since.
func (c *subCommand) since() (*client.Position, error) {
	if c.Since == "" {
		return nil, nil //nolint:nilnil // no position is a valid answer
	}
	epoch, offset, ok := strings.Cut(c.Since, ":")
	n, err := strconv.ParseUint(offset, 10, 64)
	if !ok || err != nil || len(c.Channels) != 1 {
		return nil, fmt.Errorf("--since wants EPOCH:OFFSET and one channel, it is %q", c.Since)
	}
	return &client.Position{Epoch: epoch, Offset: n}, nil
}

func (c *subCommand) print(s streams, name string, p client.Publication) error {
	if c.Data {
		_, err := fmt.Fprintf(s.out, "%s\n", p.Data)
		return err
	}
	line, err := json.Marshal(struct {
		Channel string          `json:"channel"`
		Epoch   string          `json:"epoch,omitempty"`
		Offset  uint64          `json:"offset,omitempty"`
		Data    json.RawMessage `json:"data"`
	}{name, p.Position.Epoch, p.Position.Offset, p.Data})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n", line)
	return err
}
