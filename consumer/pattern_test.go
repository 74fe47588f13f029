package consumer_test

import (
	"errors"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/consumer"
)

// A pattern has no place to keep: who asks for a consumer of one is told what
// to do instead, by whatever way he asks.
func TestPatternsHaveNoConsumers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, source := range []string{"starred:*", "starred:**", "starred:a*b*", "**"} {
			_, created := r.m.Create(t.Context(), "w", source, consumer.Settings{}, fresh)
			_, sought := r.m.Seek(t.Context(), "w", source, fresh)
			seated := r.connect("ann").sit("w", source)
			_, _, explained := r.m.Explain(t.Context(), &consumer.ExplainRequest{Channel: source, Consumer: "w", At: channel.Position{Offset: 1}})
			for _, err := range []error{created, sought, seated, explained} {
				if !errors.Is(err, channel.ErrBadRequest) || !strings.Contains(err.Error(), "make a consumer for each channel") {
					t.Errorf("%s: %v", source, err)
				}
			}
		}
		// Without patterns a star is a character like any other.
		r.sits("ann", "w", "jobs:*")
		r.publish("jobs:x", 1, 1)
		if i := r.info("w", "jobs:*"); i.Pending+int(i.Behind) != 0 {
			t.Errorf("%+v", i)
		}
	})
}
