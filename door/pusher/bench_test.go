package pusher_test

import (
	"testing"

	"myelin/channel"
	"myelin/door/pusher"
)

// BenchmarkDelivery is what one more subscriber of a publication costs the door.
func BenchmarkDelivery(b *testing.B) {
	form := pusher.Form()
	pub := &channel.Publication{Channel: "pub:x", Data: []byte(`{"price":1.25,"size":100}`), Tags: map[string]string{"event": "tick"}}
	b.ReportAllocs()
	for b.Loop() {
		form(pub)
	}
}
