package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"myelin/channel"
	"myelin/engine/disk"
)

// TestSmallDisk fills a real disk, the directory of which MYELIN_SMALL_DISK
// names (a tmpfs of 64 MiB will do), makes room and goes on, three times.
func TestSmallDisk(t *testing.T) {
	small := os.Getenv("MYELIN_SMALL_DISK")
	if small == "" {
		t.Skip("MYELIN_SMALL_DISK names no directory on a small disk")
	}
	dir, err := os.MkdirTemp(small, "engine-") //nolint:usetesting // it has to be on that disk
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	o := disk.Options{Path: filepath.Join(dir, "data"), MemtableBytes: 1 << 20}
	r := start(t, o)
	p := logPolicy(channel.DurabilitySync, 1000)
	ballast := filepath.Join(dir, "ballast")
	var acks []channel.Ack
	for round := range 3 {
		writeAll(t, ballast, make([]byte, 16<<20))
		for err = nil; err == nil; {
			var ack channel.Ack
			ack, err = r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p, Data: make([]byte, 10_000)})
			if err == nil {
				acks = append(acks, ack)
			}
			if len(acks) > 100_000 {
				t.Fatal("the disk does not fill up")
			}
			fill(t, dir)
		}
		if !errors.Is(err, channel.ErrUnavailable) && !errors.Is(err, channel.ErrUnknownOutcome) {
			t.Errorf("round %d: a publish on a full disk: %v", round, err)
		}
		t.Logf("round %d: full after %d publications: %v", round, len(acks), err)
		if res := r.since("c", p, channel.Position{}); res.Top.Offset < acks[len(acks)-1].Offset {
			t.Errorf("round %d: the top is %d, %d was acknowledged", round, res.Top.Offset, acks[len(acks)-1].Offset)
		}
		for _, name := range []string{ballast, ballast + ".more"} {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the disk to be used again", func() bool {
			ack, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("x")})
			if err == nil {
				acks = append(acks, ack)
			}
			return err == nil
		})
	}
	r.stop()
	r = start(t, o)
	res := r.since("c", p, channel.Position{})
	if last := acks[len(acks)-1]; res.Top.Epoch != last.Epoch || res.Top.Offset < last.Offset || len(res.Pubs) != 1000 {
		t.Errorf("after a restart %d publications up to %v, acknowledged up to %v", len(res.Pubs), res.Top, last.Position)
	}
	r.stop()
}

// fill takes some of the room that is left.
func fill(tb testing.TB, dir string) {
	tb.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "ballast.more"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write(make([]byte, 20_000))
	if err := f.Close(); err != nil {
		tb.Log(err)
	}
}
