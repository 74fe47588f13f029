package client

import (
	"bytes"

	"github.com/gobwas/ws"
)

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
