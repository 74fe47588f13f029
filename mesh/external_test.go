package mesh_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"myelin/channel"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// guest returns the options of a node that uses a server elsewhere.
func guest(t *testing.T, node, address string) mesh.Options {
	t.Helper()
	o := meshtest.Options(t, node)
	o.URLs, o.Storage, o.StorePath = []string{"nats://" + address}, false, ""
	return o
}

func TestServersElsewhere(t *testing.T) {
	t.Parallel()
	locked := func(o *server.Options) { o.Username, o.Password = "myelin", "right" }
	address := natsServer(t, locked)
	token := natsServer(t, func(o *server.Options) { o.Authorization = "word" })
	small := natsServer(t, func(o *server.Options) { o.MaxPayload = 4096 })
	without := natsServer(t, func(o *server.Options) { o.JetStream = false })

	for name, test := range map[string]struct {
		address string
		change  func(o *mesh.Options)
		words   string
	}{
		"no credentials": {address, func(*mesh.Options) {}, "refuse the credentials"},
		"wrong password": {address, func(o *mesh.Options) { o.User, o.Password = "myelin", "wrong" }, "refuse the credentials"},
		"wrong token":    {token, func(o *mesh.Options) { o.Token = "wrong" }, "refuse the credentials"},
		"no such file":   {address, func(o *mesh.Options) { o.CredentialsFile = filepath.Join(t.TempDir(), "none") }, "cannot be read"},
		"no such server": {meshtest.FreeAddress(t), func(*mesh.Options) {}, "cannot be reached"},
		"no TLS there":   {address, func(o *mesh.Options) { o.ExternalTLS = newAuthority(t).node(t) }, "do not agree on TLS"},
	} {
		o := guest(t, "a", test.address)
		test.change(&o)
		_, err := mesh.Open(t.Context(), o)
		if !errors.Is(err, channel.ErrUnavailable) || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v, want one that says %q", name, err, test.words)
		}
		if err != nil && strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: %v has what was secret", name, err)
		}
	}

	o := guest(t, "a", address)
	o.User, o.Password = "myelin", "right"
	n := open(t, o)
	if err := n.Ready(within(t)); err != nil {
		t.Error(err)
	}
	stream(t, n, 1)
	publish(t, n, "1")
	eventually(t, func(context.Context) error { return n.Healthy() })
	if err := n.Retire(within(t)); err != nil {
		t.Errorf("Retire where nothing is ours: %v", err)
	}

	if err := open(t, guest(t, "a", small)).Bus().Start(within(t)); !errors.Is(err, channel.ErrUnavailable) || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("a bus over a server for small messages: %v", err)
	}
	plain := open(t, guest(t, "a", without))
	eventually(t, func(context.Context) error {
		if err := plain.Healthy(); err == nil || !strings.Contains(err.Error(), "JetStream") {
			return fmt.Errorf("healthy without JetStream: %w", err)
		}
		return nil
	})
}

// A connection that is lost and found again is told, and stale messages do not
// come out of it.
func TestReconnect(t *testing.T) {
	t.Parallel()
	r := meshtest.NewRelay(t, natsServer(t, nil))
	n := open(t, guest(t, "a", r.Addr()))
	told := make(chan mesh.Cause, 16)
	n.Watch(func(d mesh.Disturbance) { told <- d.Cause })
	sub, err := n.Conn().SubscribeSync("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	r.Kill(true)
	wait := func(want mesh.Cause) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		case <-within(t).Done():
			t.Fatalf("not told %q", want)
		}
	}
	wait(mesh.CauseDisconnected)
	if err := n.Conn().Publish("x", []byte("stale")); err == nil {
		t.Error("a message was taken while there was no connection")
	}
	r.Kill(false)
	wait(mesh.CauseReconnected)
	if err := n.Conn().Publish("x", []byte("fresh")); err != nil {
		t.Error(err)
	}
	if m, err := sub.NextMsgWithContext(within(t)); err != nil || string(m.Data) != "fresh" {
		t.Errorf("%v, %v", m, err)
	}
}

// Whoever can publish on the subjects of the bus can send any bytes.
func TestNoiseOnTheBus(t *testing.T) {
	t.Parallel()
	address := natsServer(t, nil)
	var said diary
	o := guest(t, "a", address)
	o.Logger = said.logger()
	a, b := open(t, o), open(t, guest(t, "b.1", address))
	heard := make(chan string, 16)
	a.Bus().Hear("news", func(_ channel.Node, b []byte) { heard <- string(b) })
	events := make(chan channel.PeerEvent, 16)
	a.Bus().Watch(func(e channel.PeerEvent) { events <- e })
	for _, n := range []*mesh.Network{a, b} {
		if err := n.Bus().Start(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if e := <-events; e.Node.ID != "b.1" || !e.Up {
		t.Fatalf("told %v", e)
	}
	self := b.Bus().Self()
	makeNoise(t, address, self)
	eventually(t, func(context.Context) error { return b.Bus().Broadcast("news", []byte("true")) })
	if got := <-heard; got != "true" {
		t.Errorf("heard %q", got)
	}
	if peers := a.Bus().Peers(); len(peers) != 1 || peers[0] != self {
		t.Errorf("peers %v", peers)
	}
	if said.with("speaks another version of the bus") != 1 {
		t.Errorf("another version was not said once:\n%s", strings.Join(said.lines(), "\n"))
	}
	select {
	case e := <-events:
		t.Errorf("told %v", e)
	default:
	}
}

// makeNoise sends bytes to a node "a" that nobody should send, some of them in
// the name of b, and some of another version.
func makeNoise(t *testing.T, address string, b channel.Node) {
	t.Helper()
	noise, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer noise.Close()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 1500 {
		frame := make([]byte, random.IntN(200))
		for j := range frame {
			frame[j] = byte(random.Uint32())
		}
		if i%2 == 0 && len(frame) > 20 {
			// One that looks like a frame of b.
			frame[0], frame[1] = 1, byte(random.IntN(10))
			binary.LittleEndian.PutUint64(frame[2:], b.Incarnation)
			if frame[1] == 2 || frame[1] == 4 {
				// A goodbye or a broadcast of b would be taken for one.
				frame[1] = 0
			}
			frame[10] = 3
			copy(frame[11:], "b.1")
		}
		subject := []string{"myelin.bus.all", "myelin.bus.node.a", "myelin.bus.beat", "myelin.bus.beat.a"}[i%4]
		if err := noise.Publish(subject, frame); err != nil {
			t.Fatal(err)
		}
	}
	// Another version says no more than who it is.
	other := append([]byte{2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 'z'}, bytes.Repeat([]byte("?"), 50)...)
	for range 3 {
		if err := noise.Publish("myelin.bus.beat", other); err != nil {
			t.Fatal(err)
		}
	}
	if err := noise.Flush(); err != nil {
		t.Fatal(err)
	}
}

// A process that was cut off while a newer one of its name came has to go.
func TestReplacedWhileAway(t *testing.T) {
	t.Parallel()
	address := natsServer(t, nil)
	r := meshtest.NewRelay(t, address)
	old := open(t, guest(t, "a", r.Addr()))
	gone := make(chan channel.PeerEvent, 16)
	old.Bus().Watch(func(e channel.PeerEvent) { gone <- e })
	b := open(t, guest(t, "b", address))
	for _, n := range []*mesh.Network{old, b} {
		if err := n.Bus().Start(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if e := <-gone; !e.Up {
		t.Fatalf("told %v", e)
	}
	r.Hold(true, true)
	r.Hold(false, true)
	young := open(t, guest(t, "a", address))
	if err := young.Bus().Start(within(t)); err != nil {
		t.Fatal(err)
	}
	r.Hold(true, false)
	r.Hold(false, false)
	eventually(t, func(context.Context) error {
		if err := old.Healthy(); !errors.Is(err, channel.ErrConflict) {
			return fmt.Errorf("the process that was replaced is well: %w", err)
		}
		return nil
	})
	if err := old.Bus().Broadcast("news", nil); !errors.Is(err, channel.ErrConflict) {
		t.Errorf("Broadcast of a process that was replaced: %v", err)
	}
	if e := <-gone; e.Up || e.Node.ID != "b" {
		t.Errorf("the process that was replaced was told %v, want that b is gone", e)
	}
	eventually(t, func(context.Context) error {
		if peers := b.Bus().Peers(); len(peers) != 1 || peers[0] != young.Bus().Self() {
			return fmt.Errorf("b has peers %v", peers)
		}
		return nil
	})
	if err := young.Bus().Err(); err != nil {
		t.Error(err)
	}
}

// A node alone has a bus too, with nobody on it.
func TestAlone(t *testing.T) {
	t.Parallel()
	o := meshtest.Options(t, "a")
	n := open(t, o)
	if err := n.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	stream(t, n, 1)
	publish(t, n, "1")
	bus := n.Bus()
	if err := bus.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(within(t)); !errors.Is(err, channel.ErrConflict) {
		t.Errorf("a second Start: %v", err)
	}
	if err := bus.Broadcast("news", []byte("x")); err != nil {
		t.Error(err)
	}
	eventually(t, func(context.Context) error { return n.Healthy() })
	shut(t, n)
	if err := n.Healthy(); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("a closed network is healthy: %v", err)
	}
	if _, err := n.Connect(t.Context(), "late"); !errors.Is(err, channel.ErrUnavailable) {
		t.Errorf("Connect of a closed network: %v", err)
	}
	again := open(t, o)
	messages(t, again, 1)
	if _, err := os.Stat(filepath.Join(o.StorePath, "myelin.json")); err != nil {
		t.Error(err)
	}
}
