package disk_test

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// TestReadLoadsWhatFits holds that an answer that is bounded in bytes is not
// paid for with what lies behind its end.
func TestReadLoadsWhatFits(t *testing.T) {
	const each, total = 1000, 5000
	fs := newFailingFS(vfs.NewMem())
	r := start(t, disk.Options{FS: fs})
	p := logPolicy(channel.DurabilityAsync, total)
	payload := make([]byte, each)
	for i := range total {
		// Such as cannot be packed.
		for n := range payload {
			payload[n] = byte(i*31 + n*n*(i+7))
		}
		r.send(channel.PublishRequest{Channel: "c", Policy: p, Data: append([]byte{}, payload...)})
	}
	r.stop()
	r = start(t, disk.Options{FS: fs, CacheBytes: 1})
	defer r.stop()
	var reads atomic.Int64
	fs.begin(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt {
			reads.Add(1)
		}
		return nil
	})
	cost := func(bytes int, reverse bool) (n int64, pubs int) {
		q := &channel.ReadRequest{Channel: "c", Policy: p, Limit: -1, MaxBytes: bytes, Reverse: reverse}
		before := reads.Load()
		res, err := r.Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return reads.Load() - before, len(res.Pubs)
	}
	for _, reverse := range []bool{false, true} {
		// What is in memory of the tables is there after the first time.
		cost(1, reverse)
		all, n := cost(0, reverse)
		if n != total {
			t.Fatalf("%d publications, want %d", n, total)
		}
		some, n := cost(20*each, reverse)
		if n != 20 {
			t.Errorf("%d publications of %d bytes in %d bytes, reverse %v", n, each, 20*each, reverse)
		}
		if some > all/20 {
			t.Errorf("20 of %d publications took %d reads, all took %d, reverse %v", total, some, all, reverse)
		}
		if some == 0 {
			t.Error("nothing was read from the disk: the test did not test")
		}
	}
}
