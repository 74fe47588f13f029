package conversation_test

import (
	"bytes"
	"fmt"
	"testing"

	"myelin/channel"
	"myelin/conversation/conversationtest"
)

// One small request must not cost many times what one channel may: who missed
// too much over all its channels is told of the rest.
func TestWhatAConnectRecoversIsBoundedOverAllItsChannels(t *testing.T) {
	o := conversationtest.Options{}
	o.Limits.MessageBytes = 64 << 10
	stage(t, o, func(t *testing.T, w *world) {
		var names []string
		for i := range 4 {
			names = append(names, fmt.Sprintf("log:%d", i))
		}
		first := w.resume(t, "", names...)
		first.rest()
		big := append(append([]byte{'"'}, bytes.Repeat([]byte("x"), 60_000)...), '"')
		for _, name := range names {
			for range 30 {
				if _, err := w.Hub.Publish(t.Context(), &channel.PublishRequest{Channel: name, Data: big}); err != nil {
					t.Fatal(err)
				}
			}
		}
		// 1.8 MB of each: two channels fit into 4 MiB, two do not.
		again := w.resume(t, first.lastID, names...)
		recovered, lost, size := 0, 0, 0
		for _, p := range again.rest() {
			for _, sub := range p.Connect.GetSubs() {
				switch {
				case sub.Recovered:
					recovered++
				case sub.WasRecovering:
					lost++
				}
				for _, pub := range sub.Publications {
					size += len(pub.Data)
				}
				if sub.Offset != 30 {
					t.Errorf("a subscription stands at %d, want the top, 30", sub.Offset)
				}
			}
		}
		if recovered != 2 || lost != 2 || size > 4<<20 {
			t.Errorf("%d recovered and %d lost with %d bytes, want 2, 2 and at most 4 MiB", recovered, lost, size)
		}
	})
}
