package jetstream_test

import (
	"errors"
	"fmt"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/engine/jetstream"
)

func TestWhatIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		err     error
		lasting bool
	}{
		{channel.ErrUnavailable, false},
		{channel.ErrBadRequest, true},
		{errors.New("connection closed"), false},
		{&natsjs.APIError{Code: 503, ErrorCode: 10008}, false},
		// At the start of a cluster one server may know another as offline.
		{&natsjs.APIError{Code: 400, ErrorCode: 10005, Description: "no suitable peers for placement, peer offline"}, false},
		{&natsjs.APIError{Code: 400, ErrorCode: 10052, Description: "stream configuration invalid"}, true},
	} {
		if got := jetstream.Lasting(fmt.Errorf("stream x: %w", c.err)); got != c.lasting {
			t.Errorf("%v is lasting: %t", c.err, got)
		}
	}
}
