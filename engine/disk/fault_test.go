package disk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// stillReads holds that all but publishing goes on.
func stillReads(tb testing.TB, r *rig, p *channel.Policy, want string) {
	tb.Helper()
	if got := datas(r.since("c", p, channel.Position{}).Pubs); got != want {
		tb.Errorf("while the disk is ill a channel reads as %q, want %q", got, want)
	}
	r.subscribe("c", p)
	memory := logPolicy(channel.DurabilityMemory, 10)
	r.publish("memory", memory, "x")
	if got := datas(r.since("memory", memory, channel.Position{}).Pubs); !strings.HasSuffix(got, "x") {
		tb.Errorf("a channel in memory reads as %q", got)
	}
	wind := &channel.Policy{Namespace: "test"}
	r.subscribe("wind", wind)
	r.publish("wind", wind, "x")
}

// TestFullDisk fills the disk in the middle of publishing and makes room
// again. Nothing that was acknowledged is lost, and it goes on by itself.
func TestFullDisk(t *testing.T) {
	for _, d := range []channel.Durability{channel.DurabilitySync, channel.DurabilityAsync} {
		crashable := vfs.NewCrashableMem()
		fs := newFailingFS(crashable)
		r := start(t, disk.Options{FS: fs})
		p := logPolicy(d, 100)
		r.publish("c", p, "1")
		r.publish("c", p, "2")
		fs.begin(full)
		// The first one may be under way when the disk is found to be full.
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("3"), ID: "three"})
		if d == channel.DurabilitySync && !errors.Is(err, channel.ErrUnknownOutcome) && !errors.Is(err, channel.ErrUnavailable) {
			t.Errorf("a publish on a full disk: %v", err)
		}
		eventually(t, "a refusal", func() bool {
			_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "other", Policy: p})
			return errors.Is(err, channel.ErrUnavailable) && strings.Contains(err.Error(), "full")
		})
		if err := r.Remove(t.Context(), "c", p); !errors.Is(err, channel.ErrUnavailable) {
			t.Errorf("Remove on a full disk: %v", err)
		}
		if err := r.Backup(t.Context(), "backup"); !errors.Is(err, channel.ErrUnavailable) {
			t.Errorf("Backup on a full disk: %v", err)
		}
		if d == channel.DurabilitySync {
			stillReads(t, r, p, "1 2")
		}
		fs.end()
		eventually(t, "the disk to be used again", func() bool {
			_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("3"), ID: "three"})
			return err == nil
		})
		if got := datas(r.since("c", p, channel.Position{}).Pubs); got != "1 2 3" {
			t.Errorf("after the disk was full a channel reads as %q, want 1 2 3", got)
		}
		left := crashable.CrashClone(vfs.CrashCloneCfg{})
		r.stop()
		again := start(t, disk.Options{FS: left})
		if res := again.since("c", p, channel.Position{}); d == channel.DurabilitySync && datas(res.Pubs) != "1 2 3" {
			t.Errorf("after a crash the channel reads as %q, want 1 2 3", datas(res.Pubs))
		}
		again.stop()
	}
}

// TestFullDiskUnderLoad has the disk come and go while many publish.
func TestFullDiskUnderLoad(t *testing.T) {
	crashable := vfs.NewCrashableMem()
	fs := newFailingFS(crashable)
	r := start(t, disk.Options{FS: fs, MemtableBytes: 256 << 10})
	acks := &acknowledged{}
	done := make(chan struct{})
	const publishers = 8
	finished := make(chan struct{}, publishers)
	p := logPolicy(channel.DurabilitySync, 100_000)
	for i := range publishers {
		go func() {
			defer func() { finished <- struct{}{} }()
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				q := &channel.PublishRequest{Channel: fmt.Sprintf("sync:%d", i%3), Policy: p, Data: fmt.Appendf(make([]byte, 0, 1000), "%d/%d", i, n)}
				q.ID = string(q.Data)
				for {
					ack, err := r.Publish(context.Background(), q)
					if err == nil {
						acks.add(q.Channel, ack.Position, string(q.Data))
						break
					}
					if !errors.Is(err, channel.ErrUnavailable) && !errors.Is(err, channel.ErrUnknownOutcome) {
						t.Errorf("Publish: %v", err)
						return
					}
				}
			}
		}()
	}
	for range 4 {
		more := acks.count() + 500
		eventually(t, "publications", func() bool { return acks.count() > more })
		fs.begin(full)
		eventually(t, "a full disk", func() bool {
			_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "probe", Policy: p})
			return errors.Is(err, channel.ErrUnavailable)
		})
		fs.end()
	}
	close(done)
	for range publishers {
		<-finished
	}
	judge(t, r, acks.now())
	for name, told := range acks.now() {
		if n := len(r.since(name, p, channel.Position{}).Pubs); n != len(told) {
			t.Errorf("%s has %d publications, %d were acknowledged, each with an id", name, n, len(told))
		}
	}
	r.stop()
}

// TestTablesFail has tables not be written for a while.
func TestTablesFail(t *testing.T) {
	fs := newFailingFS(vfs.NewMem())
	r := start(t, disk.Options{FS: fs, MemtableBytes: 64 << 10})
	p := logPolicy(channel.DurabilitySync, 100_000)
	fs.begin(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpCreate {
			return syscall.EIO
		}
		return nil
	})
	n := 0
	var err error
	for err == nil {
		q := &channel.PublishRequest{Channel: "c", Policy: p, Data: make([]byte, 4000)}
		if _, err = r.Publish(t.Context(), q); err == nil {
			n++
		}
	}
	if !errors.Is(err, channel.ErrUnavailable) && !errors.Is(err, channel.ErrUnknownOutcome) {
		t.Errorf("with no tables to be written: %v", err)
	}
	fs.end()
	eventually(t, "tables to be written again", func() bool {
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("end")})
		return err == nil
	})
	if got := len(r.since("c", p, channel.Position{}).Pubs); got != n+1 && got != n+2 {
		t.Errorf("%d publications are kept, %d were acknowledged", got, n+1)
	}
	r.stop()
}

// TestUnreadableDisk has reads fail: that is an error, not a shorter answer.
func TestUnreadableDisk(t *testing.T) {
	fs := newFailingFS(vfs.NewMem())
	r := start(t, disk.Options{FS: fs})
	p, state := logPolicy(channel.DurabilitySync, 100), statePolicy(channel.DurabilitySync, 100)
	for n := range 20 {
		r.publish("c", p, fmt.Sprint(n))
		r.put("s", state, fmt.Sprint(n), "v")
	}
	r.stop()
	r = start(t, disk.Options{FS: fs, CacheBytes: 1})
	fs.begin(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".sst") && (op.Kind == errorfs.OpFileReadAt || op.Kind == errorfs.OpOpen) {
			return syscall.EIO
		}
		return nil
	})
	if _, err := r.Read(t.Context(), &channel.ReadRequest{Channel: "c", Policy: p, Limit: -1}); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("Read from a disk that cannot be read: %v", err)
	}
	if _, err := r.Snapshot(t.Context(), &channel.SnapshotRequest{Channel: "s", Policy: state}); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("Snapshot from a disk that cannot be read: %v", err)
	}
	if _, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p}); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("Publish with a disk that cannot be read: %v", err)
	}
	fs.end()
	if res := r.since("c", p, channel.Position{}); len(res.Pubs) != 20 || !res.Complete {
		t.Errorf("%d publications are left of 20", len(res.Pubs))
	}
	r.stop()
}
