package client

import (
	"bytes"

	"github.com/gobwas/ws"
)

// Pending returns how many commands of the application wait for a reply or for a
// connection.
func (c *Client) Pending() int {
	c.calls.mu.Lock()
	defer c.calls.mu.Unlock()
	return len(c.calls.mu.pending) + len(c.calls.mu.waiting)
}

// ReadMessages reads data messages from raw frames until an error.
func ReadMessages(raw []byte, limit int) ([][]byte, error) {
	r := &frameReader{r: bytes.NewReader(raw), max: limit, data: ws.OpText}
	var messages [][]byte
	for {
		op, payload, err := r.next()
		if err != nil {
			return messages, err
		}
		if op == ws.OpText {
			messages = append(messages, payload)
		}
	}
}
