package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"myelin/client"
)

// members returns the clients on a channel as a node tells it.
func (n *node) members(t *testing.T, channel string) map[string]bool {
	t.Helper()
	presence, _ := n.call(t, "presence", mapping{"channel": channel})["presence"].(mapping)
	all := map[string]bool{}
	for id := range presence {
		all[id] = true
	}
	return all
}

// knowsWhoIsWhere asks each node who is on a channel, and has each listener
// hear who comes and goes, also when a whole node dies.
func knowsWhoIsWhere(t *testing.T, c *cluster) {
	const channel = "log:presence"
	watcher := c.nodes[0].listen(t, channel, client.Options{})
	// Who asks for joins hears of its own first.
	here := map[string]bool{wait(t, watcher.joins, "own join"): true}
	var others []*listener
	for _, n := range c.nodes {
		others = append(others, n.listen(t, channel, client.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}))
		here[wait(t, watcher.joins, "join of a client of "+n.name)] = true
	}
	if len(here) != len(others)+1 {
		t.Errorf("these have joined: %v", here)
	}
	for _, n := range c.nodes {
		eventually(t, n.name+" knows all members", func() bool { return fmt.Sprint(n.members(t, channel)) == fmt.Sprint(here) })
		stats := n.call(t, "presence_stats", mapping{"channel": channel})
		if stats["num_clients"] != float64(len(here)) {
			t.Errorf("%s counts %v", n.name, stats)
		}
		nodes, _ := n.call(t, "info", mapping{})["nodes"].(list)
		if len(nodes) != len(c.nodes) {
			t.Errorf("%s knows of %d nodes: %v", n.name, len(nodes), nodes)
		}
	}
	if err := others[3].Close(); err != nil {
		t.Error(err)
	}
	delete(here, wait(t, watcher.leaves, "leave"))

	// The node dies and its member with it.
	dead := c.nodes[3]
	victim := dead.listen(t, channel, client.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour})
	id := wait(t, watcher.joins, "join")
	if err := dead.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	if left := wait(t, watcher.leaves, "leave of who was on a dead node"); left != id {
		t.Errorf("%s has left, want %s", left, id)
	}
	t.Logf("who was on a node that died has left after %v", time.Since(died).Round(time.Millisecond))
	for _, n := range c.nodes[:3] {
		eventually(t, n.name+" knows who is left", func() bool { return fmt.Sprint(n.members(t, channel)) == fmt.Sprint(here) })
	}
	_ = victim.Close()
	c.start(dead)
	c.serving(dead)
	eventually(t, "a new node knows all members", func() bool { return fmt.Sprint(dead.members(t, channel)) == fmt.Sprint(here) })
	if n := len(watcher.leaves); n > 0 {
		t.Errorf("there are %d leaves more", n)
	}
}

// reachesClients has each node act on clients of the others.
func reachesClients(t *testing.T, c *cluster) {
	const user = "ann"
	for i, at := range c.nodes {
		from := c.nodes[(i+1)%len(c.nodes)]
		gone := make(chan uint32, 10)
		left := make(chan uint32, 10)
		token := newToken(t, "--secret", tokenSecret)
		cl, err := client.New(at.ws(), client.Options{
			Token: token, MinBackoff: time.Hour, MaxBackoff: time.Hour,
			Handlers: client.Handlers{OnConnecting: func(code uint32, _ string) {
				if code != client.CodeCalled {
					gone <- code
				}
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cl.Close() })
		subscribed := make(chan client.SubscribedInfo, 10)
		if _, err = cl.Subscribe("log:reach", client.SubOptions{
			OnSubscribed:   func(s client.SubscribedInfo) { subscribed <- s },
			OnUnsubscribed: func(code uint32, _ string) { left <- code },
		}); err != nil {
			t.Fatal(err)
		}
		if err := cl.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(t, subscribed, "subscription")
		from.call(t, "unsubscribe", mapping{"user": user, "channel": "log:reach"})
		if code := wait(t, left, "unsubscribe by another node"); code != 2000 {
			t.Errorf("at %s it is unsubscribed with %d", at.name, code)
		}
		from.call(t, "disconnect", mapping{"user": user, "disconnect": mapping{"code": 4501, "reason": "away"}})
		select {
		case code := <-gone:
			t.Errorf("at %s it is sent away with %d and comes back", at.name, code)
		case <-cl.Done():
		case <-time.After(patience):
			t.Fatalf("%s does not reach a client at %s", from.name, at.name)
		}
	}
}

// takesCommands opens a stream at each node, and sends its commands to another.
func takesCommands(t *testing.T, c *cluster) {
	for i, at := range c.nodes {
		other := newWay(t, c.nodes[(i+1)%len(c.nodes)].main, nil, 1)
		s := newWay(t, at.main, nil, 1).stream(http.MethodPost, "/connection/http_stream", `{"id":1,"connect":{}}`)
		var reply struct {
			Connect struct {
				Session string `json:"session"`
				Node    string `json:"node"`
			} `json:"connect"`
		}
		if err := json.Unmarshal([]byte(s.until(`"connect":`)), &reply); err != nil || reply.Connect.Node != at.name {
			t.Fatalf("it is connected to %v (%v), want %s", reply, err, at.name)
		}
		send := func(command string) int {
			body, err := json.Marshal(map[string]string{"session": reply.Connect.Session, "node": reply.Connect.Node, "data": command})
			if err != nil {
				t.Fatal(err)
			}
			return other.do(http.MethodPost, "/emulation", string(body), "Content-Type", "application/json").StatusCode
		}
		for id := 2; id < 12; id++ {
			if code := send(fmt.Sprintf(`{"id":%d,"publish":{"channel":"log:emulation","data":%d}}`, id, id)); code != http.StatusNoContent {
				t.Fatalf("command %d for %s is answered with %d", id, at.name, code)
			}
		}
		for id := 2; id < 12; id++ {
			if line := s.until(`"id":`); !strings.Contains(line, fmt.Sprintf(`"id":%d`, id)) {
				t.Fatalf("command %d is answered with %s", id, line)
			}
		}
		s.close()
	}
	gone := newWay(t, c.nodes[0].main, nil, 1)
	if code := gone.do(http.MethodPost, "/emulation", `{"session":"x","node":"node-z","data":"{}"}`, "Content-Type", "application/json").StatusCode; code != http.StatusNotFound {
		t.Errorf("a command for a node that is not there is answered with %d", code)
	}
}
