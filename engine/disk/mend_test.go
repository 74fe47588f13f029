package disk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// broken returns a disk of which operations of some kinds fail.
func broken(kinds ...errorfs.OpKind) func(op errorfs.Op) error {
	return func(op errorfs.Op) error {
		if slices.Contains(kinds, op.Kind) {
			return syscall.EIO
		}
		return nil
	}
}

// breaks returns the ways a disk can break.
func breaks() map[string]func(op errorfs.Op) error {
	return map[string]func(op errorfs.Op) error{
		"sync":  broken(errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo),
		"write": broken(errorfs.OpFileWrite),
	}
}

// refusesToWrite holds that an engine whose disk has failed says so.
func refusesToWrite(t *testing.T, r *rig, p *channel.Policy) {
	t.Helper()
	for range 3 {
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p})
		if !errors.Is(err, channel.ErrUnavailable) || !strings.Contains(err.Error(), "opened anew as soon as") {
			t.Errorf("a publish after the disk has failed: %v", err)
		}
	}
	if err := r.Backup(t.Context(), "backup"); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("Backup on a failed disk: %v", err)
	}
	if err := r.Healthy(); !errors.Is(err, syscall.EIO) {
		t.Errorf("an engine with a failed disk says %v of itself", err)
	}
}

// TestFailedDisk has a write or a sync of the log fail: the engine reads on and
// says why it does not write. When the disk works again it goes on by itself:
// all that was acknowledged is there, no sync channel has another epoch, and
// subscribers are told where their feed may have a hole, and only there.
func TestFailedDisk(t *testing.T) {
	for what, breaking := range breaks() {
		t.Run(what, func(t *testing.T) {
			crashable := vfs.NewCrashableMem()
			fs := newFailingFS(crashable)
			r := start(t, disk.Options{FS: fs})
			p := logPolicy(channel.DurabilitySync, 100)
			state := statePolicy(channel.DurabilitySync, 100)
			at := r.publish("c", p, "1")
			quiet := r.publish("quiet", p, "1")
			r.put("s", state, "k", "v")
			r.subscribe("c", p)
			r.subscribe("quiet", p)
			fs.begin(breaking)
			q := &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("2"), ID: "two"}
			_, err := r.Publish(t.Context(), q)
			if !errors.Is(err, channel.ErrUnknownOutcome) || !errors.Is(err, syscall.EIO) {
				t.Errorf("a publish as the disk fails: %v", err)
			}
			refusesToWrite(t, r, p)
			stillReads(t, r, p, "1")
			if got := r.entries("s", state); got["k"] != "v" {
				t.Errorf("entries %v", got)
			}
			fs.end()
			eventually(t, "the disk to be used again", func() bool {
				_, err := r.Publish(context.Background(), q)
				return err == nil
			})
			if err := r.Healthy(); err != nil {
				t.Errorf("an engine whose disk works again says %v of itself", err)
			}
			again := r.publish("quiet", p, "2")
			if again.Epoch != quiet.Epoch || again.Offset != 2 {
				t.Errorf("a channel that was quiet goes on at %v, was at %v", again.Position, quiet.Position)
			}
			if got := r.delivered("quiet"); datas(got) != "2" {
				t.Errorf("a subscriber of before got %q", datas(got))
			}
			if lost := r.losses(); !slices.Equal(lost, []string{"c"}) {
				t.Errorf("the feeds of %q may have holes, want that of c", lost)
			}
			holds := func(r *rig) {
				t.Helper()
				res := r.since("c", p, channel.Position{})
				if res.Top.Epoch != at.Epoch || !res.Complete || datas(res.Pubs) != "1 2" {
					t.Errorf("the channel reads as %q at %v", datas(res.Pubs), res.Top)
				}
				if got := r.entries("s", state); got["k"] != "v" {
					t.Errorf("entries %v", got)
				}
			}
			holds(r)
			left := crashable.CrashClone(vfs.CrashCloneCfg{})
			r.stop()
			r = start(t, disk.Options{FS: left})
			holds(r)
			r.stop()
		})
	}
}

// TestCloseOnFailedDisk holds that an engine whose disk has failed closes with
// words, and that the directory can be opened again at once.
func TestCloseOnFailedDisk(t *testing.T) {
	for _, breaking := range breaks() {
		fs := newFailingFS(vfs.NewMem())
		r := start(t, disk.Options{FS: fs})
		p := logPolicy(channel.DurabilitySync, 100)
		at := r.publish("c", p, "1")
		fs.begin(breaking)
		if _, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p}); err == nil {
			t.Error("a publish on a failed disk was acknowledged")
		}
		if err := r.Close(context.Background()); !errors.Is(err, channel.ErrUnavailable) || !strings.Contains(err.Error(), "acknowledged is safe") {
			t.Errorf("Close on a failed disk: %v", err)
		}
		fs.end()
		r = start(t, disk.Options{FS: fs})
		if res := r.since("c", p, channel.Position{}); res.Top.Epoch != at.Epoch || len(res.Pubs) == 0 || string(res.Pubs[0].Data) != "1" {
			t.Errorf("after a restart the channel reads as %q at %v", datas(res.Pubs), res.Top)
		}
		r.stop()
	}
}

// TestMendWaitsForWrites holds that the database is not opened anew while a
// write of the one that failed may still come to the disk.
func TestMendWaitsForWrites(t *testing.T) {
	fs := newFailingFS(vfs.NewMem())
	r := start(t, disk.Options{FS: fs})
	p := logPolicy(channel.DurabilitySync, 100)
	r.publish("c", p, "1")
	release := r.Hold()
	fs.begin(breaks()["write"])
	if _, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p}); err == nil {
		t.Error("a publish on a failed disk was acknowledged")
	}
	probed, opened := make(chan struct{}), make(chan struct{}, 100)
	var once sync.Once
	fs.begin(func(op errorfs.Op) error {
		switch {
		case op.Kind == errorfs.OpRemove && strings.HasSuffix(op.Path, "/probe"):
			once.Do(func() { close(probed) })
		case op.Kind == errorfs.OpCreate && strings.Contains(op.Path, "/db/"):
			opened <- struct{}{}
		}
		return nil
	})
	<-probed
	for range 20 {
		if _, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p}); !errors.Is(err, channel.ErrUnavailable) {
			t.Errorf("a publish while a write is under way: %v", err)
		}
	}
	select {
	case <-opened:
		t.Error("the database was opened while a write is under way")
	default:
	}
	release()
	eventually(t, "the disk to be used again", func() bool {
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p})
		return err == nil
	})
	fs.end()
	r.stop()
}

// TestMendTellsOfAsync holds that a busy async channel has a new epoch after
// its disk has failed, and that its subscribers are told, as what was
// acknowledged last may be gone.
func TestMendTellsOfAsync(t *testing.T) {
	fs := newFailingFS(vfs.NewMem())
	r := start(t, disk.Options{FS: fs})
	p := logPolicy(channel.DurabilityAsync, 1_000_000)
	r.subscribe("a", p)
	var at channel.Position
	for n := range 20 {
		at = r.publish("a", p, fmt.Sprint(n)).Position
	}
	fs.begin(breaks()["sync"])
	for err := error(nil); err == nil; {
		_, err = r.Publish(t.Context(), &channel.PublishRequest{Channel: "a", Policy: p, Data: []byte("x")})
	}
	fs.end()
	eventually(t, "the disk to be used again", func() bool {
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "a", Policy: p, Data: []byte("y")})
		return err == nil
	})
	res := r.since("a", p, channel.Position{})
	if res.Top.Epoch == at.Epoch || !strings.HasPrefix(datas(res.Pubs), "0 1 2") {
		t.Errorf("a busy async channel is at %v with %q, was at %v", res.Top, datas(res.Pubs), at)
	}
	if lost := r.losses(); !slices.Contains(lost, "a") {
		t.Errorf("the feeds of %q may have holes, want that of a", lost)
	}
	for range 3 {
		r.publish("a", p, "z")
	}
	if n := r.Marked(); n != 1 {
		t.Errorf("%d channels are known to be marked, want the one that is busy", n)
	}
	r.stop()
}

// TestMendFailsToo has the log fail again as soon as the database is opened,
// some times: what is kept can be read all along, and in the end it goes on.
func TestMendFailsToo(t *testing.T) {
	fs := newFailingFS(vfs.NewMem())
	r := start(t, disk.Options{FS: fs})
	p, async := logPolicy(channel.DurabilitySync, 100), logPolicy(channel.DurabilityAsync, 1_000_000)
	r.publish("c", p, "1")
	for range 5 {
		r.publish("a", async, "x")
	}
	var failures atomic.Int64
	fs.begin(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if strings.HasSuffix(op.Path, ".log") && failures.Add(1) <= 2 {
				return syscall.EIO
			}
		default:
		}
		return nil
	})
	if _, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("2"), ID: "2"}); err == nil {
		t.Error("a publish on a failed disk was acknowledged")
	}
	eventually(t, "the disk to be used again", func() bool {
		if got := datas(r.since("c", p, channel.Position{}).Pubs); !strings.HasPrefix(got, "1") {
			t.Errorf("the channel reads as %q", got)
		}
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte("2"), ID: "2"})
		return err == nil
	})
	// Once before it was opened anew, and once while it was.
	if n := failures.Load(); n < 2 {
		t.Errorf("the log failed %d times: the test did not test", n)
	}
	if got := datas(r.since("c", p, channel.Position{}).Pubs); got != "1 2" {
		t.Errorf("the channel reads as %q", got)
	}
	fs.end()
	r.stop()
}

// TestAbandoned holds that nothing of a database that failed comes to the disk
// after another one took its place.
func TestAbandoned(t *testing.T) {
	fs := newFailingFS(vfs.NewMem())
	r := start(t, disk.Options{FS: fs})
	p := logPolicy(channel.DurabilitySync, 100)
	r.publish("c", p, "1")
	remove := r.Remover()
	fs.begin(breaks()["write"])
	if _, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p}); err == nil {
		t.Error("a publish on a failed disk was acknowledged")
	}
	fs.end()
	eventually(t, "the disk to be used again", func() bool {
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p})
		return err == nil
	})
	var removed atomic.Bool
	fs.begin(func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, "/mine") {
			removed.Store(true)
		}
		return nil
	})
	go func() { _ = remove("mine") }()
	time.Sleep(50 * time.Millisecond)
	if removed.Load() {
		t.Error("the database that failed has removed a file")
	}
	fs.end()
	r.stop()
}

// TestFailsUnderLoad has the disk fail again and again while many publish,
// each with an id and until it is acknowledged: everything is there once.
func TestFailsUnderLoad(t *testing.T) {
	crashable := vfs.NewCrashableMem()
	fs := newFailingFS(crashable)
	r := start(t, disk.Options{FS: fs, MemtableBytes: 256 << 10})
	p := logPolicy(channel.DurabilitySync, 100_000)
	acks := &acknowledged{}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { insist(r, acks, p, i, done) })
	}
	ways := breaks()
	ways["any"] = broken(
		errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo,
		errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpRemove, errorfs.OpLink,
	)
	for _, what := range []string{"sync", "any", "write"} {
		more := acks.count() + 300
		eventually(t, "publications", func() bool { return acks.count() > more })
		fs.begin(ways[what])
		eventually(t, "a failed disk", func() bool {
			_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "probe", Policy: p})
			return errors.Is(err, channel.ErrUnavailable)
		})
		fs.end()
	}
	more := acks.count() + 300
	eventually(t, "publications", func() bool { return acks.count() > more })
	close(done)
	wg.Wait()
	holds := func(r *rig) {
		t.Helper()
		judge(t, r, acks.now())
		for name, told := range acks.now() {
			if n := len(r.since(name, p, channel.Position{}).Pubs); n != len(told) {
				t.Errorf("%s has %d publications, %d were acknowledged, each with an id", name, n, len(told))
			}
		}
	}
	holds(r)
	if n, bytes := r.InFlight(); n != 0 || bytes != 0 {
		t.Errorf("when all is over %d publications of %d bytes are under way", n, bytes)
	}
	left := crashable.CrashClone(vfs.CrashCloneCfg{})
	r.stop()
	r = start(t, disk.Options{FS: left})
	holds(r)
	r.stop()
}

// insist publishes one after the other until it is acknowledged.
func insist(r *rig, acks *acknowledged, p *channel.Policy, i int, done <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		default:
		}
		q := &channel.PublishRequest{Channel: fmt.Sprintf("sync:%d", i%3), Policy: p, Data: fmt.Appendf(make([]byte, 0, 500), "%d/%d", i, n)}
		q.ID = string(q.Data)
		for {
			ack, err := r.Publish(context.Background(), q)
			if err == nil {
				acks.add(q.Channel, ack.Position, string(q.Data))
				break
			}
			if !errors.Is(err, channel.ErrUnavailable) && !errors.Is(err, channel.ErrUnknownOutcome) {
				r.tb.Errorf("Publish: %v", err)
				return
			}
		}
	}
}

// TestFailsTooOften holds that a disk that fails again and again is given up,
// and read from until the restart.
func TestFailsTooOften(t *testing.T) {
	fs := newFailingFS(vfs.NewMem())
	r := start(t, disk.Options{FS: fs, MemtableBytes: 256 << 10})
	p := logPolicy(channel.DurabilitySync, 100)
	publish := func(id string) error {
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "c", Policy: p, Data: []byte(id), ID: id})
		return err
	}
	probe := func() error {
		_, err := r.Publish(t.Context(), &channel.PublishRequest{Channel: "probe", Policy: p})
		return err
	}
	want := []string{}
	for n := range disk.MaxMends + 1 {
		id := fmt.Sprint(n)
		want = append(want, id)
		eventually(t, "the disk to be used again", func() bool { return publish(id) == nil })
		fs.begin(breaks()["sync"])
		eventually(t, "a failed disk", func() bool { return probe() != nil })
		fs.end()
	}
	eventually(t, "a disk that is given up", func() bool {
		err := probe()
		return errors.Is(err, channel.ErrUnavailable) && strings.Contains(err.Error(), "restart")
	})
	if got := datas(r.since("c", p, channel.Position{}).Pubs); got != strings.Join(want, " ") {
		t.Errorf("the channel reads as %q, want %q", got, want)
	}
	if err := r.Close(context.Background()); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("Close: %v", err)
	}
}

// TestOpenOnFullDisk holds that an unclean directory on a full disk is refused
// with words, and opens when there is room.
func TestOpenOnFullDisk(t *testing.T) {
	p := logPolicy(channel.DurabilitySync, 10)
	for what, fail := range map[string]func(op errorfs.Op) error{
		"everything": full,
		"tables": func(op errorfs.Op) error {
			if strings.HasSuffix(op.Path, ".sst") {
				return full(op)
			}
			return nil
		},
	} {
		crashable := vfs.NewCrashableMem()
		r := start(t, disk.Options{FS: crashable})
		r.publish("c", p, "1")
		fs := newFailingFS(crashable.CrashClone(vfs.CrashCloneCfg{}))
		r.stop()
		fs.begin(fail)
		refused(t, disk.Options{FS: fs}, "full disk", "make room")
		fs.end()
		r = start(t, disk.Options{FS: fs})
		if got := datas(r.since("c", p, channel.Position{}).Pubs); got != "1" {
			t.Errorf("%s: after the disk was full a channel reads as %q", what, got)
		}
		r.stop()
	}
}
