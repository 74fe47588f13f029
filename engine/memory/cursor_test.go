package memory_test

import (
	"testing"

	"myelin/channel"
	"myelin/engine/memory"
)

// FuzzCursor holds that no cursor breaks the engine, and that one it takes is
// one it would write.
func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add("AAAAAAAAAAA")
	f.Add("MDAwMDAwMDABAGtleQ")
	f.Add("MDAwMDAwMDD__________wEAa2V5")
	e := memory.New(memory.Options{})
	if err := e.Start(f.Context(), &bench{}); err != nil {
		f.Fatal(err)
	}
	p := &channel.Policy{Kind: channel.KindState}
	for _, k := range []string{"a", "b"} {
		if _, err := e.Publish(f.Context(), &channel.PublishRequest{Channel: "a", Policy: p, Op: channel.OpPut, Key: k}); err != nil {
			f.Fatal(err)
		}
	}
	page, err := e.Snapshot(f.Context(), &channel.SnapshotRequest{Channel: "a", Policy: p, Limit: 1})
	if err != nil || page.Next == "" {
		f.Fatal(page, err)
	}
	f.Add(page.Next)
	f.Fuzz(func(t *testing.T, s string) {
		again, ok := memory.ParseCursor(s)
		if !ok {
			return
		}
		if twice, ok := memory.ParseCursor(again); !ok || twice != again {
			t.Errorf("%q is written as %q, and that as %q", s, again, twice)
		}
		// A cursor that is accepted leads to the rest of the entries.
		page, err := e.Snapshot(t.Context(), &channel.SnapshotRequest{Channel: "a", Policy: p, Cursor: s})
		if s != "" && err == nil && len(page.Items) > 2 {
			t.Errorf("%q gives %d entries of 2", s, len(page.Items))
		}
	})
}
