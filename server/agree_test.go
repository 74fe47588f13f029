package server

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"myelin/channel/channeltest"
	"myelin/config"
)

func keeping(t *testing.T, set ...string) *config.Config {
	t.Helper()
	c, err := config.Load(config.Source{Path: "test.yaml", Bytes: []byte("auth: {anonymous: true}"), Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTermsDiffer(t *testing.T) {
	t.Parallel()
	same := []string{"namespaces.chat.history.size=10"}
	for name, c := range map[string]struct {
		set  []string
		want []string
	}{
		"the same":           {same, nil},
		"another size":       {[]string{"namespaces.chat.history.size=11"}, []string{"namespaces.chat"}},
		"one less":           {nil, []string{"namespaces.chat"}},
		"one more":           {append(slices.Clone(same), "namespaces.more.presence=true"), []string{"namespaces.more"}},
		"a lifecycle":        {append(slices.Clone(same), "lifecycle.events=connected"), []string{"namespaces.$lifecycle"}},
		"other limits":       {append(slices.Clone(same), "limits.message=32KiB"), []string{"limits.message"}},
		"a key of no weight": {append(slices.Clone(same), "listen=127.0.0.1:9000"), nil},
	} {
		here, there := termsOf(keeping(t, same...)), termsOf(keeping(t, c.set...))
		if got := here.differences(&there); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if got := there.differences(&here); !slices.Equal(got, c.want) {
			t.Errorf("%s, seen from the other side: %q, want %q", name, got, c.want)
		}
	}
}

// TestNodesCompareTerms has a node warn of the one that keeps to other terms,
// and not of the one that keeps to the same.
func TestNodesCompareTerms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := channeltest.NewNetwork()
		defer network.Close()
		ctx, stop := context.WithCancel(context.Background())
		var said bytes.Buffer
		join := func(id string, log *slog.Logger, set ...string) {
			bus := network.Join(id)
			a, err := agree(ctx, keeping(t, set...), bus, log)
			if err != nil {
				t.Fatal(err)
			}
			if err := bus.Start(ctx); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				stop()
				_ = bus.Close(context.Background())
				a.wait()
			})
		}
		quiet := slog.New(slog.DiscardHandler)
		join("a", slog.New(slog.NewTextHandler(&said, nil)), "namespaces.chat.history.size=10")
		join("b", quiet, "namespaces.chat.history.size=10")
		join("c", quiet, "namespaces.chat.history.size=20")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		log := said.String()
		if strings.Count(log, "different configuration") != 1 || !strings.Contains(log, "node=c") || !strings.Contains(log, "namespaces.chat") {
			t.Errorf("node a said %q", log)
		}
	})
}
