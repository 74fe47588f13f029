package disk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/auth"
	"myelin/channel"
	"myelin/engine/disk"
	"myelin/hub"
)

// ear is a connection that keeps what comes.
type ear struct {
	mu    sync.Mutex
	heard strings.Builder
}

func (e *ear) WriteNow(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard.Write(p)
}

func (e *ear) NotifyWritable(ready func()) { go ready() }
func (e *ear) Close()                      {}

func (e *ear) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard.String()
}

// TestFailedDiskUnheard holds that a subscriber of a hub sees nothing of a disk
// that fails and works again: all that is in the log, once and in order, and
// the subscription goes on.
func TestFailedDiskUnheard(t *testing.T) {
	fs := newFailingFS(vfs.NewMem())
	e, err := disk.Open(disk.Options{FS: fs, Path: "data"})
	if err != nil {
		t.Fatal(err)
	}
	e.MendQuickly()
	all := auth.NewWhoSet(auth.WhoAnonymous)
	p := logPolicy(channel.DurabilitySync, 100_000)
	h := hub.New(hub.Options{Engine: e, PingInterval: -1, Namespaces: map[string]*hub.Namespace{
		"sync": {Policy: p, Rules: auth.Rules{Subscribe: all}, Recover: true},
	}})
	if err := e.Start(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	hears := &ear{}
	s, err := h.Open(hub.SessionOptions{Conn: hears, Form: lines{}})
	if err == nil {
		err = s.Connect(&auth.Identity{Anonymous: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	sn, err := s.Subscribe(t.Context(), hub.SubscribeRequest{Channel: "sync:c", Recoverable: true})
	if err != nil {
		t.Fatal(err)
	}
	sn.Live(nil)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() { insistThrough(t, h, w, done) })
	}
	heard := func() int { return strings.Count(hears.text(), "got ") }
	for _, what := range []string{"sync", "write", "sync"} {
		more := heard() + 200
		eventually(t, "publications", func() bool { return heard() > more })
		fs.begin(breaks()[what])
		eventually(t, "a failed disk", func() bool {
			_, err := h.Publish(t.Context(), &channel.PublishRequest{Channel: "sync:probe", Data: []byte("x")})
			return errors.Is(err, channel.ErrUnavailable)
		})
		fs.end()
	}
	more := heard() + 200
	eventually(t, "publications", func() bool { return heard() > more })
	close(done)
	wg.Wait()
	res, err := e.Read(t.Context(), &channel.ReadRequest{Channel: "sync:c", Policy: p, Limit: -1})
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, pub := range res.Pubs {
		fmt.Fprintf(&want, "got sync:c %s %d %d %s\n", sn.Position.Epoch, pub.Offset, pub.Prev, pub.Data)
	}
	eventually(t, "the subscriber to hear the last", func() bool { return heard() >= len(res.Pubs) })
	if got := hears.text(); got != want.String() {
		t.Errorf("the subscriber heard\n%.2000s\nwant\n%.2000s", got, want.String())
	}
	h.Close()
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// insistThrough publishes one after the other until it is acknowledged.
func insistThrough(t *testing.T, h *hub.Hub, w int, done <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		default:
		}
		data := fmt.Sprintf("%d-%d", w, n)
		for {
			_, err := h.Publish(context.Background(), &channel.PublishRequest{Channel: "sync:c", Data: []byte(data), ID: data})
			if err == nil {
				break
			}
			if !errors.Is(err, channel.ErrUnavailable) && !errors.Is(err, channel.ErrUnknownOutcome) {
				t.Errorf("Publish: %v", err)
				return
			}
		}
	}
}
