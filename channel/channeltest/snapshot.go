package channeltest

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"

	"myelin/channel"
)

func snapshotChecks() []check {
	return []check{
		{"snapshot/pages", checkSnapshotPages},
		{"snapshot/while-writing", checkSnapshotWhileWriting},
		{"snapshot/between-pages", checkBetweenPages},
		{"snapshot/cursor", checkCursor},
		{"snapshot/one-key", checkOneKey},
	}
}

// awkwardKeys are keys that an encoding might trip over.
func awkwardKeys() []string {
	return []string{
		"a", "A", "aa", "a.b", "a*", "a>", "a/b", "a b", " ", "0", "10", "9", "ä", "日本", "a\x00b",
		"~", "-", "\U0001F9E0", "a:b", "a\"b", "a%2fb", string(make([]byte, channel.MaxKeyBytes)),
	}
}

func checkSnapshotPages(x *exam) {
	x.needState()
	p := x.statePolicy(1000)
	keys := awkwardKeys()
	for i := range 100 {
		keys = append(keys, fmt.Sprintf("key-%d", i))
	}
	for _, k := range keys {
		x.put("pages", p, k, "of "+k)
	}
	slices.Sort(keys)
	top := x.top("pages", p)
	for _, size := range []int{0, -1, 1, 7, len(keys) - 1, len(keys), len(keys) + 1} {
		var got []string
		r := &channel.SnapshotRequest{Channel: "pages", Policy: p, Limit: size}
		for {
			page := x.page(r)
			if size > 0 && len(page.Items) > size {
				x.failf("a page of %d has %d entries", size, len(page.Items))
			}
			if page.At != top {
				x.failf("a page is at %v, the channel at %v", page.At, top)
			}
			for _, i := range page.Items {
				if string(i.Data) != "of "+i.Key {
					x.failf("key %q has %q", i.Key, i.Data)
				}
				got = append(got, i.Key)
			}
			if page.Next == "" {
				break
			}
			if len(page.Items) == 0 {
				x.failf("an empty page has a next one")
			}
			r.Cursor = page.Next
		}
		if !slices.Equal(got, keys) {
			x.failf("pages of %d give %d keys %q, want %d in order", size, len(got), got, len(keys))
		}
	}
}

// checkBetweenPages changes what the pages before and after the cursor hold.
func checkBetweenPages(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	const name = "between"
	for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
		x.put(name, p, k, "old")
	}
	r := &channel.SnapshotRequest{Channel: name, Policy: p, Limit: 2}
	first := x.page(r)
	entries := make(map[string]string)
	replay(entries, first.Items)
	x.put(name, p, "a", "new")
	x.del(name, p, "b")
	x.del(name, p, "c")
	x.put(name, p, "d", "new")
	x.put(name, p, "bb", "new")
	x.put(name, p, "dd", "new")
	x.del(name, p, "f")
	for page := first; page.Next != ""; {
		r.Cursor = page.Next
		page = x.page(r)
		if page.At != first.At {
			x.failf("a later page is at %v, the first one was at %v", page.At, first.At)
		}
		for _, i := range page.Items {
			entries[i.Key] = string(i.Data)
		}
	}
	res := x.since(name, p, first.At)
	if !res.Complete {
		x.failf("seven changes after the first page are not all in a history of 100")
	}
	replay(entries, res.Pubs)
	if now := x.entries(name, p); !maps.Equal(entries, now) {
		x.failf("pages and what came after the first give %q, want %q", entries, now)
	}
	want := map[string]string{"a": "new", "bb": "new", "d": "new", "dd": "new", "e": "old"}
	if !maps.Equal(entries, want) {
		x.failf("entries are %q, want %q", entries, want)
	}
}

// checkSnapshotWhileWriting has a newcomer build its entries while others
// write: subscribe, page, apply what came after the first page.
func checkSnapshotWhileWriting(x *exam) {
	x.needState()
	// Some keys are never written again: no change will heal their loss.
	const keys, busy, rounds = 60, 40, 40
	p := x.statePolicy(100_000)
	const name = "busy"
	for k := range keys {
		x.put(name, p, fmt.Sprint(k), "start")
	}
	top := x.subscribe(name, p)
	var done atomic.Bool
	var written atomic.Int64
	type view struct {
		entries map[string]string
		at      channel.Position
	}
	var views []view
	x.parallel(3, func(i int) {
		if i > 0 {
			for n := 0; !done.Load() && n < 20_000; n++ {
				key := fmt.Sprint((n*7 + i) % busy)
				if n%5 == 0 {
					x.del(name, p, key)
				} else {
					x.put(name, p, key, fmt.Sprintf("%d/%d", i, n))
				}
				written.Add(1)
				runtime.Gosched()
			}
			return
		}
		defer done.Store(true)
		for round := range int64(rounds) {
			x.until(func() bool { return written.Load() >= 20*round })
			v := view{entries: make(map[string]string)}
			r := &channel.SnapshotRequest{Channel: name, Policy: p, Limit: 5}
			for first := true; first || r.Cursor != ""; first = false {
				page := x.page(r)
				if first {
					v.at = page.At
				}
				if page.At != v.at {
					x.failf("a page is at %v, its first one was at %v", page.At, v.at)
				}
				replay(v.entries, page.Items)
				r.Cursor = page.Next
				runtime.Gosched()
			}
			views = append(views, v)
		}
	})
	final, at := x.snapshot(name, p)
	want := make(map[string]string)
	replay(want, final)
	got := x.await(name, at)
	x.chain("delivered", got, top)
	for i, v := range views {
		replay(v.entries, after(got, v.at))
		if !maps.Equal(v.entries, want) {
			x.failf("view %d, begun at %d, comes to %d entries that differ from the %d there are", i, v.at.Offset, len(v.entries), len(want))
		}
	}
}

func checkCursor(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	for _, cursor := range []string{"x", "0", "%%%", "AAAAAAAAAAAAAAAAAAAAAAAA", "日本", "a\x00", string(make([]byte, 5000))} {
		page, err := x.e.Snapshot(x.ctx, &channel.SnapshotRequest{Channel: "cursor", Policy: p, Cursor: cursor})
		if err == nil && len(page.Items) == 0 && page.Next == "" {
			continue
		}
		x.refused(err, fmt.Sprintf("the cursor %q", cursor), channel.ErrBadRequest, channel.ErrUnrecoverable)
	}
	for _, k := range []string{"a", "b", "c"} {
		x.put("cursor", p, k, "")
	}
	r := &channel.SnapshotRequest{Channel: "cursor", Policy: p, Limit: 1}
	r.Cursor = x.page(r).Next
	x.ok(x.e.Remove(x.ctx, "cursor", p), "Remove")
	x.put("cursor", p, "z", "")
	// Whoever has the first page cannot find out what became of it, so the
	// snapshot must not go on.
	_, err := x.e.Snapshot(x.ctx, r)
	x.refused(err, "a page after Remove", channel.ErrUnrecoverable)
}

// checkOneKey asks for single entries, among them keys that others begin with.
func checkOneKey(x *exam) {
	x.needState()
	p := x.statePolicy(100)
	const name = "one"
	ask := func(key string) channel.StatePage {
		// A cursor of nothing and a limit of none: neither matters.
		return x.page(&channel.SnapshotRequest{Channel: name, Policy: p, Key: key, Limit: -1, Cursor: "%%%"})
	}
	if page := ask("a"); len(page.Items) != 0 || page.Next != "" {
		x.failf("an unused channel has an entry %+v", page)
	}
	for _, k := range awkwardKeys() {
		x.put(name, p, k, "of "+k)
	}
	gone := x.del(name, p, "aa")
	for _, k := range awkwardKeys() {
		page := ask(k)
		if page.At != gone.Position || page.Next != "" {
			x.failf("the page of key %q is at %v and goes on with %q, the channel is at %v", k, page.At, page.Next, gone.Position)
		}
		switch {
		case k == "aa" && len(page.Items) == 0:
		case len(page.Items) == 1 && page.Items[0].Key == k && string(page.Items[0].Data) == "of "+k && page.Items[0].Channel == name:
		default:
			x.failf("the page of key %q has %d entries", k, len(page.Items))
		}
	}
	if page := ask("aaa"); len(page.Items) != 0 {
		x.failf("a key that is not there has the entry %+v", *page.Items[0])
	}
}
