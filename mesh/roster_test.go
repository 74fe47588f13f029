package mesh_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"

	"myelin/channel"
	"myelin/mesh"
)

// rosterModel is what is known of one id: which incarnation is there, and when
// it was last heard.
type rosterModel struct {
	node  channel.Node
	heard time.Time
}

// TestRosterModel holds the roster against a model that is told the same.
func TestRosterModel(t *testing.T) {
	const most = 3
	ids := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1000, 0)
		r, ticked := mesh.NewRoster(now, most), now
		model := make(map[string]rosterModel)
		// announced follows the events, as a listener would.
		announced := make(map[string]channel.Node)
		follow := func(events []channel.PeerEvent) { followEvents(t, announced, events) }
		draw := func(t *rapid.T) channel.Node {
			return channel.Node{ID: rapid.SampledFrom(ids).Draw(t, "id"), Incarnation: rapid.Uint64Range(1, 3).Draw(t, "incarnation")}
		}
		t.Repeat(map[string]func(*rapid.T){
			"hello": func(t *rapid.T) {
				n := draw(t)
				events, full := r.Hello(n, now)
				old, there := model[n.ID]
				wantFull := !there && len(model) == most
				if full != wantFull {
					t.Fatalf("full is %v, want %v", full, wantFull)
				}
				if !wantFull && (!there || n.Incarnation >= old.node.Incarnation) {
					model[n.ID] = rosterModel{n, now}
				}
				follow(events)
			},
			"sign": func(t *rapid.T) {
				n := draw(t)
				want := model[n.ID].node == n
				if got := r.Sign(n, now); got != want {
					t.Fatalf("a sign of %v counts: %v, want %v", n, got, want)
				}
				if want {
					model[n.ID] = rosterModel{n, now}
				}
			},
			"bye": func(t *rapid.T) {
				n := draw(t)
				if model[n.ID].node == n {
					delete(model, n.ID)
				}
				follow(r.Bye(n))
			},
			"tick": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
				late := now.Sub(ticked) > mesh.LateBeat
				ticked = now
				for id, m := range model {
					switch {
					case late:
						model[id] = rosterModel{m.node, now}
					case now.Sub(m.heard) >= mesh.DeadAfter:
						delete(model, id)
					}
				}
				follow(r.Tick(now))
			},
			"": func(t *rapid.T) {
				want := make(map[string]channel.Node)
				for id, m := range model {
					want[id] = m.node
				}
				if !reflect.DeepEqual(announced, want) || len(r.Nodes()) != len(want) {
					t.Fatalf("announced is %v, nodes are %v, want %v", announced, r.Nodes(), want)
				}
			},
		})
	})
}

// followEvents takes events as a listener would, and fails on those that cannot
// be.
func followEvents(t *rapid.T, announced map[string]channel.Node, events []channel.PeerEvent) {
	for _, e := range events {
		now, there := announced[e.Node.ID]
		switch {
		case there == e.Up, !e.Up && now != e.Node:
			t.Fatalf("event %v, and announced is %v", e, announced)
		case e.Up:
			announced[e.Node.ID] = e.Node
		default:
			delete(announced, e.Node.ID)
		}
	}
}

// A node that dies right after a beat is gone within six seconds.
func TestRosterIsInTime(t *testing.T) {
	now := time.Unix(1000, 0)
	r := mesh.NewRoster(now, 1)
	died := now.Add(time.Millisecond)
	r.Hello(channel.Node{ID: "a", Incarnation: 1}, died)
	for now.Sub(died) < 6*time.Second {
		now = now.Add(mesh.Beat)
		if len(r.Tick(now)) > 0 {
			return
		}
	}
	t.Errorf("it is still there after %v", now.Sub(died))
}

func TestQueueIsBounded(t *testing.T) {
	q := mesh.NewQueue(3, 100)
	for i, want := range []bool{true, true, true, false} {
		if got := q.Add(i, "a", 10); got != want {
			t.Errorf("the item %d of a class of 3: %v", i, got)
		}
	}
	if !q.Add(10, "b", 500) {
		t.Error("the first of a class may be as large as it likes")
	}
	if q.Add(11, "b", 1) {
		t.Error("there are too many bytes")
	}
	if got := fmt.Sprint(q.TakeAll()); got != "[0 1 2 10]" {
		t.Errorf("took %s", got)
	}
	if !q.Add(12, "b", 1) || !q.Add(13, "a", 1) {
		t.Error("what was taken made no room")
	}
}

func TestHear(t *testing.T) {
	for text, want := range map[string][2]string{
		`127.0.0.1:7102 - rid:9 - Route Error 'Rejecting connection, cluster name "c" does not match "d"'`:                                      {"the peer belongs to a cluster", "127.0.0.1:7102"},
		`127.0.0.1:7101 - rid:11 - Router connection closed: Cluster Name Conflict`:                                                             {"the peer belongs to a cluster", "127.0.0.1:7101"},
		`127.0.0.1:7101 - rid:12 - Route Error 'Authorization Violation'`:                                                                       {"the peer refuses this node", "127.0.0.1:7101"},
		`127.0.0.1:5555 - rid:12 - authentication error - User "b"`:                                                                             {"the peer does not know the secret", "127.0.0.1:5555"},
		`127.0.0.1:7101 - rid:12 - TLS route handshake error: remote error: tls: bad certificate`:                                               {"no TLS connection", "127.0.0.1:7101"},
		`127.0.0.1:7101 - rid:12 - TLS route handshake error: read tcp 127.0.0.1:1->127.0.0.1:2: i/o timeout`:                                   {"the connection with the peer broke off", "127.0.0.1:7101"},
		`127.0.0.1:7101 - rid:12 - TLS route handshake error: EOF`:                                                                              {"the connection with the peer broke off", "127.0.0.1:7101"},
		`127.0.0.1:7101 - rid:12 - TLS route handshake error: tls: failed to verify certificate: x509: certificate signed by unknown authority`: {"no TLS connection", "127.0.0.1:7101"},
		`127.0.0.1:7101 - rid:12 - Remote server has a duplicate name: "a"`:                                                                     {"another node has the same name", "127.0.0.1:7101"},
		`Error trying to connect to route (attempt 1): dial tcp 127.0.0.1:7103: connect: connection refused`:                                    {"the peer cannot be reached", "127.0.0.1:7103"},
		`Error trying to connect to route (attempt 2): lookup for host "node-b": no such host`:                                                  {"the peer cannot be reached", "node-b"},
		`127.0.0.1:7101 - rid:8 - Router connection closed: Duplicate Route`:                                                                    {"", "127.0.0.1:7101"},
		`Server is ready`: {"", ""},
	} {
		words, remote := mesh.Hear(text)
		if remote != want[1] || len(words) < len(want[0]) || words[:len(want[0])] != want[0] || want[0] == "" && words != "" {
			t.Errorf("%q is %q with %q, want %q with %q", text, words, remote, want[0], want[1])
		}
	}
}

func TestHeir(t *testing.T) {
	behind := &server.PeerInfo{Name: "behind", Lag: 7}
	further := &server.PeerInfo{Name: "further", Lag: 3}
	current := &server.PeerInfo{Name: "current", Current: true, Lag: 9}
	away := &server.PeerInfo{Name: "away", Current: true, Offline: true}
	coming := &server.PeerInfo{Name: "coming", Current: true, Pending: true}
	for _, test := range []struct {
		strict   bool
		replicas []*server.PeerInfo
		want     string
	}{
		{true, []*server.PeerInfo{behind, away, coming}, ""},
		{false, []*server.PeerInfo{away, coming}, ""},
		{false, []*server.PeerInfo{behind, further}, "further"},
		{false, []*server.PeerInfo{current, further}, "current"},
		{true, []*server.PeerInfo{further, current}, "current"},
		{true, nil, ""},
	} {
		if got := mesh.HeirOf(test.replicas, test.strict); got != test.want {
			t.Errorf("of %v, strict %v, the heir is %q, want %q", test.replicas, test.strict, got, test.want)
		}
	}
}
