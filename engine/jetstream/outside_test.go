package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/engine/jetstream"
	"myelin/mesh"
)

// TestSequencesGivenTwice has a server come back with an older state under an
// engine: positions of what is lost must not be taken for those of what comes.
func TestSequencesGivenTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(port int, dir string) *server.Server {
		s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true, SyncAlways: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(patience) {
			t.Fatal("the server does not come up")
		}
		return s
	}
	halt := func(s *server.Server) {
		s.Shutdown()
		s.WaitForShutdown()
	}
	s := run(-1, dir)
	port := s.Addr().(*net.TCPAddr).Port
	network, err := mesh.Open(t.Context(), mesh.Options{Node: "one", URLs: []string{s.ClientURL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = network.Close(context.Background()) })
	heard := newSink()
	e := start(t, jetstream.Options{Network: network, Synced: true, PublishTimeout: patience}, heard)
	p := logPolicy(100)
	top := subscribe(t, e, "twice", p)
	for range 5 {
		publish(t, e, "twice", p, "before")
	}
	halt(s)
	older := t.TempDir()
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s = run(port, dir)
	var last channel.Ack
	for i := range 5 {
		// What is under way when a server goes is safe to repeat with an id only.
		last, err = e.Publish(t.Context(), &channel.PublishRequest{Channel: "twice", Policy: p, ID: fmt.Sprint(i), Data: []byte("lost")})
		if err != nil {
			t.Fatal(err)
		}
	}
	if last.Epoch != top.Epoch {
		t.Errorf("the epoch went from %q to %q, although nothing was lost", top.Epoch, last.Epoch)
	}
	halt(s)
	s = run(port, older)
	defer halt(s)
	eventually(t, func() string {
		if heard.losses("twice") == 0 {
			return "nobody said that something was lost"
		}
		return ""
	})
	res := read(t, e, "twice", p, last.Position)
	if res.Complete || res.Top.Epoch == last.Epoch {
		t.Errorf("after sequences were lost: %+v", res)
	}
	again, err := e.Publish(t.Context(), &channel.PublishRequest{Channel: "twice", Policy: p, ID: "again"})
	if err != nil {
		t.Fatal(err)
	}
	if again.Epoch != res.Top.Epoch {
		t.Errorf("a publication got %v, the channel is at %v", again, res.Top)
	}
}

// TestForeignStream holds that a stream that is somebody else's, or of a newer
// format, is left alone, with words.
func TestForeignStream(t *testing.T) {
	t.Parallel()
	h := newHome(t, false)
	p := &channel.Policy{Namespace: "test", Durability: channel.DurabilityAsync, HistorySize: 10}
	e := start(t, jetstream.Options{Network: h.network}, newSink())
	name, err := jetstream.StreamOf(t.Context(), e, p)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, e)
	for format, words := range map[string]string{"": "another prefix", "99": "update this node"} {
		js := h.network.JetStream()
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		c := natsjs.StreamConfig{Name: name, Subjects: []string{"somebody.>"}}
		if format != "" {
			c.Metadata = map[string]string{"myelin-format": format}
		}
		eventually(t, func() string {
			// The files of the one before may still be there.
			if _, err := js.CreateStream(t.Context(), c); err != nil {
				return err.Error()
			}
			return ""
		})
		other := newEngine(t, jetstream.Options{Network: h.network, Namespaces: []*channel.Policy{p}})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := other.Start(ctx, newSink())
		cancel()
		if !errors.Is(err, channel.ErrUnsupported) || !strings.Contains(err.Error(), words) {
			t.Errorf("format %q: %v, want words of %q", format, err, words)
		}
		st, err := js.Stream(t.Context(), name)
		if err != nil || st.CachedInfo().Config.Subjects[0] != "somebody.>" || st.CachedInfo().State.Msgs != 0 {
			t.Errorf("format %q: the stream was changed: %v", format, err)
		}
		stopDead(t, other)
	}
}

// TestNewerMessage holds that a message of a newer version is never taken for
// another one: who reads is refused, who listens is told.
func TestNewerMessage(t *testing.T) {
	t.Parallel()
	h := newHome(t, false)
	s := newSink()
	e := start(t, jetstream.Options{Network: h.network}, s)
	p := &channel.Policy{Namespace: "test", Durability: channel.DurabilityAsync, HistorySize: 10}
	top := subscribe(t, e, "newer", p)
	publish(t, e, "newer", p, "1")
	subject, err := jetstream.SubjectOf(t.Context(), e, p, "newer")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := e.JetStream().Publish(ctx, subject, []byte{2, 1, 0, 0, 'x'}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if s.losses("newer") == 0 {
			return "nobody said that something was lost"
		}
		return ""
	})
	_, err = e.Read(ctx, &channel.ReadRequest{Channel: "newer", Policy: p, Since: top, Limit: -1})
	if !errors.Is(err, channel.ErrInternal) || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("Read: %v", err)
	}
	last := publish(t, e, "newer", p, "2")
	eventually(t, func() string {
		if got := s.got("newer"); got[len(got)-1].Position != last.Position || len(got) != 2 {
			return "the next one has not come"
		}
		return ""
	})
	if wrong := chained(s.got("newer"), top.Offset); wrong == "" {
		t.Error("the chain hides the message that nobody could read")
	}
}
