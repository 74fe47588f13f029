package hub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// watch follows a presence map and returns what it begins with.
func (c *client) watch(name string) (view, error) {
	page, err := c.SubscribePresence(context.Background(), hub.SubscribeRequest{Channel: name})
	if err != nil {
		return nil, err
	}
	v := view{}
	for _, p := range page.Entries {
		v.apply(pubLineOf(p, true))
	}
	page.Live.Live(nil)
	return v, nil
}

// TestPresenceMaps follows a room whose members come and go at random, by
// connection and by user, with watchers who come at any time.
func TestPresenceMaps(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, nil)
		random := rand.New(rand.NewPCG(rand.Uint64(), 4))
		type watcher struct {
			c    *client
			name string
			v    view
		}
		var watchers []watcher
		var members []*client
		for i := range 300 {
			switch n := random.IntN(20); {
			case n == 0:
				w := watcher{c: s.connect("w"), name: hub.ClientsNamespace + ":room:x"}
				if i%2 == 0 {
					w.name = hub.UsersNamespace + ":room:x"
				}
				if random.IntN(3) == 0 {
					// Without pages: it is told of all, one by one.
					w.v = view{}
					if err := w.c.join(hub.SubscribeRequest{Channel: w.name}); err != nil {
						t.Fatal(err)
					}
				} else if v, err := w.c.watch(w.name); err != nil {
					t.Fatal(err)
				} else {
					w.v = v
				}
				watchers = append(watchers, w)
			case n < 11:
				c := s.connect(fmt.Sprint("user", random.IntN(5)))
				if err := c.join(hub.SubscribeRequest{Channel: "room:x"}); err != nil {
					t.Fatal(err)
				}
				members = append(members, c)
			case n < 18 && len(members) > 0:
				k := random.IntN(len(members))
				members[k].Close(hub.DisconnectConnectionClosed)
				members = slices.Delete(members, k, k+1)
			default:
				time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
			}
		}
		wait(time.Second)
		clients, users := view{}, view{}
		count := map[string]int{}
		for _, c := range members {
			user := c.Identity().User
			clients[c.ID()] = fmt.Sprintf("{%q:%q}", "user", user)
			count[user]++
			users[user] = fmt.Sprintf("{%q:%d}", "clients", count[user])
		}
		for i, w := range watchers {
			w.c.update(w.v)
			want := users
			if strings.HasPrefix(w.name, hub.ClientsNamespace) {
				want = clients
			}
			if !maps.Equal(w.v, want) {
				t.Errorf("watcher %d of %s has %v\nwant %v", i, w.name, w.v, want)
			}
		}
	})
}

// TestPresenceMapsRefuse holds who may follow what.
func TestPresenceMapsRefuse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stateStage(t, nil, func(o *hub.Options) { o.Namespaces["closed"].Presence = true })
		c := s.connect("u")
		for name, want := range map[string]*channel.Error{
			"room:x":                 channel.ErrBadRequest,
			"$clients:log:x":         channel.ErrNotAvailable,
			"$clients:no:x":          channel.ErrUnknownChannel,
			"$clients:closed:x":      channel.ErrPermissionDenied,
			"$users:$clients:room:x": channel.ErrNotAvailable,
			"$users:$users:room:x":   channel.ErrNotAvailable,
		} {
			if _, err := c.watch(name); !errors.Is(err, want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := c.Publish(context.Background(), &channel.PublishRequest{Channel: "$clients:room:x", Data: []byte("1")})
		if !errors.Is(err, channel.ErrPermissionDenied) {
			t.Errorf("publish: %v", err)
		}
	})
}
