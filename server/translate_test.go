package server

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"myelin/channel"
	"myelin/config"
	"myelin/engine/memory"
	"myelin/observe"
)

// another sets a leaf of the configuration to something else than its default.
func another(t *testing.T, at reflect.Value, tag reflect.StructTag) {
	t.Helper()
	words := strings.Split(tag.Get("enum"), "|")
	switch at.Kind() {
	case reflect.Bool:
		at.SetBool(!at.Bool())
	case reflect.Int, reflect.Int64:
		at.SetInt(at.Int() + 77_000_000)
	case reflect.String:
		if at.SetString("another"); tag.Get("enum") != "" {
			at.SetString(words[len(words)-1])
		}
	case reflect.Slice:
		if tag.Get("enum") == "" {
			words = []string{"another"}
		}
		for _, word := range words {
			// The first that is not what stands there.
			if list := []string{word}; at.Len() != 1 || at.Index(0).String() != word {
				at.Set(reflect.ValueOf(list))
				return
			}
		}
	default:
		t.Fatalf("a key of kind %v", at.Kind())
	}
}

// leaves calls look with each key below a group, and how to set it in another
// value of the group.
func leaves(group reflect.Type, path string, index []int, look func(path string, index []int, tag reflect.StructTag)) {
	for i := range group.NumField() {
		f := group.Field(i)
		at := append(append([]int(nil), index...), i)
		if f.Type.Kind() == reflect.Struct {
			leaves(f.Type, path+f.Tag.Get("yaml")+".", at, look)
			continue
		}
		look(path+f.Tag.Get("yaml"), at, f.Tag)
	}
}

// Every key of a namespace changes what the namespace is: none is forgotten on
// the way from the configuration.
func TestEveryKeyOfANamespaceCounts(t *testing.T) {
	t.Parallel()
	translated := func(n config.Namespace) (out struct{ namespace, consumers any }) {
		space, err := namespace("x", n, durability(config.Default().Survives(n)))
		if err != nil {
			t.Fatal(err)
		}
		out.namespace, out.consumers = space, consumerRules(n.Consumers)
		return out
	}
	count := 0
	leaves(reflect.TypeFor[config.Namespace](), "", nil, func(path string, index []int, tag reflect.StructTag) {
		plain := config.Default().Namespaces["default"]
		plain.History.Size = 1
		switch {
		case path == "durability":
			return // it is the engine that says what there is
		case strings.HasPrefix(path, "state."):
			plain.Kind = "state"
		}
		changed := plain
		another(t, reflect.ValueOf(&changed).Elem().FieldByIndex(index), tag)
		if reflect.DeepEqual(translated(plain), translated(changed)) {
			t.Errorf("namespaces.x.%s changes nothing", path)
		}
		count++
	})
	if count < 40 {
		t.Errorf("%d keys were looked at", count)
	}
}

// Every key of limits and client changes what the hub holds to.
func TestEveryLimitCounts(t *testing.T) {
	t.Parallel()
	translated := func(c *config.Config) any {
		s := &Server{cfg: c, engine: memory.New(memory.Options{}), metrics: observe.New()}
		h := s.newHub()
		defer h.Close()
		o := h.Options()
		return []any{h.Limits(), o.PingInterval, o.PongTimeout, o.StaleAfter, o.ExpiredDelay}
	}
	plain := translated(config.Default())
	look := func(group reflect.Type, name string) {
		leaves(group, name+".", nil, func(path string, index []int, tag reflect.StructTag) {
			c := config.Default()
			at := reflect.ValueOf(c).Elem().FieldByName(strings.ToUpper(name[:1]) + name[1:]).FieldByIndex(index)
			another(t, at, tag)
			if reflect.DeepEqual(plain, translated(c)) {
				t.Errorf("%s changes nothing", path)
			}
		})
	}
	look(reflect.TypeFor[config.Limits](), "limits")
	look(reflect.TypeFor[config.Client](), "client")
}

// What the server keeps for itself is as safe as the engine can keep it.
func TestTheServersOwnIsAsSafeAsCanBe(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]channel.Durability{
		"memory": channel.DurabilityMemory, "disk": channel.DurabilitySync, "jetstream": channel.DurabilitySync,
	} {
		s := &Server{cfg: keeping(t, "engine.kind="+kind, "engine.disk.path=d", "engine.jetstream.path=j")}
		n := s.systemNamespace("$x", channel.KindState, 7, time.Hour)
		if p := n.Policy; p.Durability != want || !n.System || p.HistorySize != 7 || p.HistoryTTL != time.Hour || p.MetaTTL < p.HistoryTTL {
			t.Errorf("%s: %+v", kind, p)
		}
	}
	for synced, want := range map[bool]channel.Durability{false: channel.DurabilityAsync, true: channel.DurabilitySync} {
		c := keeping(t, "engine.kind=jetstream", "engine.jetstream.url=[nats://127.0.0.1:4222]", "engine.jetstream.synced="+strconv.FormatBool(synced))
		if got := (&Server{cfg: c}).safest(); got != want {
			t.Errorf("NATS elsewhere, synced %v: %v", synced, got)
		}
	}
}
