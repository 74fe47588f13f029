// Package conversationtest sets the stage for tests of conversations and of
// the doors that carry them.
//
// # Nouns
//
// A [World] is a hub with a memory engine and a host on it, and what signs
// tokens for it. A [Web] is an HTTP server on a network in memory with a
// client to it, in one of the versions of HTTP.
//
// # Promises
//
// Everything ends with the test it was made for. A World may be made in a
// synctest bubble, and then lives in virtual time; so does a Web.
//
// # Limits
//
// None of its own: those of a World are what its Options say.
package conversationtest

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/engine/memory"
	"myelin/hub"
	"myelin/observe"
)

// Secret signs the tokens of every World.
const Secret = "a secret that is long enough for HS256"

// Node is the id of the node of every World without a bus.
const Node = "node-1"

// Options is what a World is made of. The zero value is a world that anonymous
// clients may enter.
type Options struct {
	// Namespaces by name; nil is Namespaces().
	Namespaces map[string]*hub.Namespace
	Limits     hub.Limits
	// Private refuses clients without a token.
	Private    bool
	Introspect bool
	// Keys is what tokens are checked with, nil for Secret.
	Keys *auth.Options
	// Engine stands between the hub and the memory engine, nil for nothing.
	Engine func(channel.Engine) channel.Engine
	// Bus joins the world with others, whose nodes it names. Its owner starts it
	// when the world is made, and closes it.
	Bus channel.Bus
	// Quiet turns pings off.
	Quiet bool
	// Hooks ask the application; nil for nobody.
	Hooks  conversation.Hooks
	Shards int
	Logger *slog.Logger
	// Bans keeps a list of who is kept out.
	Bans bool
}

// World is one node without a network.
type World struct {
	Hub     *hub.Hub
	Host    *conversation.Host
	Engine  channel.Engine
	Metrics *observe.Metrics
}

// Namespaces returns one namespace for each of the policies that tests need:
//
//   - "log" keeps 100 publications, lets everybody do everything;
//   - "small" keeps 3; "plain" keeps none; "always" makes every subscription
//     recoverable;
//   - "room" has presence and tells of joins and leaves;
//   - "user", "token", "subscriber", "nobody" are for those; who may subscribe
//     to "subscriber" is anybody.
func Namespaces() map[string]*hub.Namespace {
	open := func(w auth.Who) auth.Rules {
		s := auth.NewWhoSet(w)
		return auth.Rules{Subscribe: s, Publish: s, Presence: s, History: s}
	}
	space := func(size int, rules auth.Rules) *hub.Namespace {
		return &hub.Namespace{Policy: &channel.Policy{HistorySize: size}, Rules: rules, PositionCheck: -1}
	}
	all := map[string]*hub.Namespace{
		"log": space(100, open(auth.WhoAnonymous)), "small": space(3, open(auth.WhoAnonymous)),
		"plain": space(0, open(auth.WhoAnonymous)), "always": space(100, open(auth.WhoAnonymous)),
		"room": space(100, open(auth.WhoAnonymous)),
		"user": space(100, open(auth.WhoUser)), "token": space(100, open(auth.WhoToken)),
		"subscriber": space(100, open(auth.WhoSubscriber)), "nobody": space(100, open(auth.WhoNobody)),
	}
	for name, ns := range all {
		ns.Policy.Namespace = name
	}
	for _, name := range []string{"room", "user", "token", "subscriber", "nobody"} {
		all[name].Presence, all[name].JoinLeave = true, true
	}
	all["always"].Recover = true
	all["subscriber"].Rules.Subscribe = auth.NewWhoSet(auth.WhoAnonymous)
	return all
}

// banning adds the namespace of a list of bans, and returns an empty one.
func banning(t testing.TB, namespaces map[string]*hub.Namespace) *auth.Bans {
	t.Helper()
	list, err := auth.NewBans(nil)
	if err != nil {
		t.Fatal(err)
	}
	namespaces[hub.RevokedNamespace] = &hub.Namespace{
		Policy:  &channel.Policy{Namespace: hub.RevokedNamespace, Kind: channel.KindState, HistorySize: 16},
		Recover: true, System: true,
	}
	return list
}

// New returns a running world.
func New(t testing.TB, o Options) *World {
	t.Helper()
	if o.Namespaces == nil {
		o.Namespaces = Namespaces()
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &World{Engine: memory.New(memory.Options{}), Metrics: observe.New()}
	if o.Engine != nil {
		w.Engine = o.Engine(w.Engine)
	}
	if o.Keys == nil {
		o.Keys = &auth.Options{HMACSecret: Secret}
	}
	verifier, err := auth.NewVerifier(*o.Keys)
	if err != nil {
		t.Fatal(err)
	}
	ho := hub.Options{
		Node: Node, Engine: w.Engine, Namespaces: o.Namespaces, Limits: o.Limits, Metrics: w.Metrics, Shards: o.Shards,
		Bus: o.Bus,
	}
	if o.Hooks != nil {
		ho.Hooks = o.Hooks
	}
	if o.Quiet {
		ho.PingInterval = -1
	}
	if o.Bans {
		ho.Bans = banning(t, o.Namespaces)
	}
	w.Hub = hub.New(ho)
	if err := w.Engine.Start(ctx, w.Hub); err != nil {
		t.Fatal(err)
	}
	if o.Bans {
		if err := w.Hub.LearnBans(ctx); err != nil {
			t.Fatal(err)
		}
	}
	w.Host = conversation.NewHost(ctx, conversation.Options{
		Hub: w.Hub, Verifier: verifier, Anonymous: !o.Private, Introspect: o.Introspect, Hooks: o.Hooks,
		Version: "test", Metrics: w.Metrics, Logger: o.Logger,
	})
	t.Cleanup(func() {
		w.Hub.Close()
		stop()
		w.Host.Wait()
		_ = w.Engine.Close(context.Background())
		_ = verifier.Close()
	})
	return w
}

// Claims are the claims of a token.
type Claims = map[string]any

// Token signs claims.
func Token(t testing.TB, c Claims) string {
	t.Helper()
	s, err := auth.NewSigner(auth.SignerOptions{HMACSecret: Secret})
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// In returns the Unix second that comes after d.
func In(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// Publish publishes JSON in the server's name.
func (w *World) Publish(t testing.TB, name string, v any) channel.Ack {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := w.Hub.Publish(t.Context(), &channel.PublishRequest{Channel: name, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return ack
}
