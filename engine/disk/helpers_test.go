package disk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"myelin/channel"
	"myelin/engine/disk"
)

// rig is an engine with a sink, and calls that must not fail.
type rig struct {
	*disk.Engine
	tb testing.TB
	mu struct {
		sync.Mutex
		got  map[string][]*channel.Publication
		lost []string
	}
}

// start opens an engine and starts it.
func start(tb testing.TB, o disk.Options) *rig {
	tb.Helper()
	if o.Path == "" {
		o.Path = "data"
	}
	e, err := disk.Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	e.MendQuickly()
	r := &rig{Engine: e, tb: tb}
	r.mu.got = make(map[string][]*channel.Publication)
	if err := e.Start(tb.Context(), r); err != nil {
		tb.Fatal(err)
	}
	return r
}

func (r *rig) Deliver(p *channel.Publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.got[p.Channel] = append(r.mu.got[p.Channel], p)
}

func (r *rig) Lost(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.lost = append(r.mu.lost, name)
}

// losses returns the channels whose feed may have holes.
func (r *rig) losses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.mu.lost...)
}

// Cleared is for engines that several nodes share.
func (r *rig) Cleared(name string) { r.Lost(name) }

// delivered returns what came on a channel.
func (r *rig) delivered(name string) []*channel.Publication {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*channel.Publication{}, r.mu.got[name]...)
}

func (r *rig) stop() {
	r.tb.Helper()
	if err := r.Close(context.Background()); err != nil {
		r.tb.Fatalf("Close: %v", err)
	}
}

func (r *rig) send(q channel.PublishRequest) channel.Ack {
	r.tb.Helper()
	ack, err := r.Publish(context.Background(), &q)
	if err != nil {
		r.tb.Fatalf("Publish: %v", err)
	}
	return ack
}

func (r *rig) publish(name string, p *channel.Policy, data string) channel.Ack {
	r.tb.Helper()
	return r.send(channel.PublishRequest{Channel: name, Policy: p, Data: []byte(data)})
}

func (r *rig) put(name string, p *channel.Policy, key, data string) channel.Ack {
	r.tb.Helper()
	return r.send(channel.PublishRequest{Channel: name, Policy: p, Op: channel.OpPut, Key: key, Data: []byte(data)})
}

func (r *rig) subscribe(name string, p *channel.Policy) channel.Position {
	r.tb.Helper()
	at, err := r.Subscribe(context.Background(), name, p)
	if err != nil {
		r.tb.Fatalf("Subscribe: %v", err)
	}
	return at
}

func (r *rig) since(name string, p *channel.Policy, at channel.Position) channel.ReadResult {
	r.tb.Helper()
	res, err := r.Read(context.Background(), &channel.ReadRequest{Channel: name, Policy: p, Since: at, Limit: -1})
	if err != nil {
		r.tb.Fatalf("Read: %v", err)
	}
	return res
}

// entries returns the entries of a state channel.
func (r *rig) entries(name string, p *channel.Policy) map[string]string {
	r.tb.Helper()
	page, err := r.Snapshot(context.Background(), &channel.SnapshotRequest{Channel: name, Policy: p})
	if err != nil {
		r.tb.Fatalf("Snapshot: %v", err)
	}
	all := make(map[string]string)
	for _, i := range page.Items {
		all[i.Key] = string(i.Data)
	}
	return all
}

// datas returns the payloads, joined.
func datas(pubs []*channel.Publication) string {
	var all []string
	for _, p := range pubs {
		all = append(all, string(p.Data))
	}
	return strings.Join(all, " ")
}

// logPolicy and statePolicy return policies of a durability.
func logPolicy(d channel.Durability, size int) *channel.Policy {
	return &channel.Policy{Namespace: "test", Durability: d, HistorySize: size}
}

func statePolicy(d channel.Durability, size int) *channel.Policy {
	return &channel.Policy{Namespace: "test", Kind: channel.KindState, Durability: d, HistorySize: size}
}

// refused fails unless Open refuses with all the words.
func refused(tb testing.TB, o disk.Options, words ...string) {
	tb.Helper()
	if o.Path == "" {
		o.Path = "data"
	}
	e, err := disk.Open(o)
	if err == nil {
		tb.Errorf("Open succeeded, want a refusal with %q", words)
		_ = e.Close(context.Background())
		return
	}
	if _, ok := errors.AsType[*channel.Error](err); !ok {
		tb.Errorf("Open failed with a %T, want a *channel.Error: %v", err, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			tb.Errorf("Open failed with %q, want the words %q", err, w)
		}
	}
}

// files returns the names in a directory that end in a suffix.
func files(tb testing.TB, fs vfs.FS, dir, part string) []string {
	tb.Helper()
	names, err := fs.List(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var all []string
	for _, n := range names {
		if strings.Contains(n, part) {
			all = append(all, fs.PathJoin(dir, n))
		}
	}
	return all
}

func readAll(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func writeAll(tb testing.TB, name string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// copyDir copies a directory on the real disk.
func copyDir(tb testing.TB, from, to string) {
	tb.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		tb.Fatal(fmt.Errorf("copy %s: %w", from, err))
	}
}
