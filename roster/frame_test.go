package roster_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/roster"
)

func info(user, client, conn, sub string) *channel.ClientInfo {
	i := &channel.ClientInfo{User: user, Client: client}
	if conn != "" {
		i.ConnInfo = []byte(conn)
	}
	if sub != "" {
		i.ChanInfo = []byte(sub)
	}
	return i
}

// The bytes of version 1. They do not change: nodes of two builds talk to each
// other while a cluster is upgraded.
func TestFramesOfVersionOne(t *testing.T) {
	j := roster.NewJournal(7)
	place := j.Join(roster.Member{Channel: "room:x", Info: info("ann", "c1", `{}`, ""), Present: true, Announced: true})
	j.Join(roster.Member{Channel: "room:y", Info: info("ann", "c1", `{}`, `{"k":1}`), Present: true})
	j.Join(roster.Member{Channel: "room:y", Info: info("", "c2", "", ""), Announced: true})
	j.Leave(place)
	frames, _ := j.Flush(true)
	page, err := j.Answer([]byte{1, 3, 7, 0})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"01 01 01  26 01 06 726f6f6d3a78 03 02 616e6e 6331 02 7b7d  72 02 06 726f6f6d3a79 07 7b226b223a317d  0c 03 00 02 6332  01 01",
		"01 02 01 02 bbcde3bcafd8d2b1b401",
		"01 04 01 00  62 02 06 726f6f6d3a79 03 02 616e6e 6331 02 7b7d 07 7b226b223a317d  0c 03 00 02 6332",
	} {
		got := hex.EncodeToString(append(frames, page)[i])
		if want = strings.ReplaceAll(want, " ", ""); got != want {
			t.Errorf("frame %d is %s\nwant        %s", i, got, want)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	j := roster.NewJournal(7)
	for name, c := range map[string]struct {
		request []byte
		want    error
	}{
		"nothing":               {nil, channel.ErrBadRequest},
		"another version":       {[]byte{2, 3, 7, 0}, channel.ErrBadRequest},
		"another kind":          {[]byte{1, 1, 7, 0}, channel.ErrBadRequest},
		"cut":                   {[]byte{1, 3, 7}, channel.ErrBadRequest},
		"another incarnation":   {[]byte{1, 3, 8, 0}, channel.ErrConflict},
		"a cursor beyond":       {[]byte{1, 3, 7, 99}, nil},
		"a cursor of the moon":  {[]byte{1, 3, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, nil},
		"a number without end":  {[]byte{1, 3, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, channel.ErrBadRequest},
		"something behind that": {[]byte{1, 3, 7, 0, 0, 0}, nil},
	} {
		if _, err := j.Answer(c.request); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A frame, a page and an entry stay below what they may have, and a member of
// any size in between arrives.
func TestSizes(t *testing.T) {
	j := roster.NewJournal(1)
	n := 0
	for size := 1; size < roster.MaxEntry; size += size/3 + 1 {
		n++
		if j.Join(roster.Member{Channel: "room:x", Info: info("u", fmt.Sprint("c", n), strings.Repeat("i", size), ""), Present: true}) == 0 {
			n--
		}
	}
	if n == 0 || j.Join(roster.Member{Channel: "room:x", Info: info("u", "c", strings.Repeat("i", roster.MaxEntry), "")}) != 0 {
		t.Fatalf("%d entered, and a member of %d bytes", n, roster.MaxEntry)
	}
	for range 8 { // more than a frame
		n++
		j.Join(roster.Member{Channel: "room:x", Info: info("u", fmt.Sprint("c", n), strings.Repeat("i", roster.MaxEntry-200), ""), Present: true})
	}
	node := channel.Node{ID: "a", Incarnation: 1}
	byFrames, byPages := roster.New(1000), roster.New(1000)
	fill(t, byPages, node, j)
	frames, _ := j.Flush(true)
	fill(t, byFrames, node, roster.NewJournal(1))
	for _, f := range frames {
		if len(f) > roster.MaxFrame {
			t.Errorf("a frame has %d bytes", len(f))
		}
		if _, ask := byFrames.Hear(node, f); ask != nil {
			t.Error("a copy was begun")
		}
	}
	for what, r := range map[string]*roster.Roster{"frames": byFrames, "pages": byPages} {
		if r.Len() != n || len(r.Members("room:x", 1<<20)) != n {
			t.Errorf("%d members by %s, %d shown, want %d", r.Len(), what, len(r.Members("room:x", 1<<20)), n)
		}
	}
}

// fill makes a copy of a journal.
func fill(t testing.TB, r *roster.Roster, node channel.Node, j *roster.Journal) {
	t.Helper()
	for f := r.Up(node); f != nil; {
		page, err := j.Answer(f.Request)
		if err != nil || len(page) > roster.MaxFrame {
			t.Fatalf("a page of %d bytes, %v", len(page), err)
		}
		_, f = r.Page(f, page, nil)
	}
}

// A journal that nobody flushes drops what it holds, and everybody copies.
func TestJournalIsBounded(t *testing.T) {
	j, r := roster.NewJournal(1), roster.New(1<<20)
	node := channel.Node{ID: "a", Incarnation: 1}
	fill(t, r, node, j)
	big := strings.Repeat("i", 60_000)
	n := 0
	for ; n < 500; n++ {
		j.Join(roster.Member{Channel: "room:x", Info: info("u", fmt.Sprint("c", n), big, ""), Present: true})
	}
	frames, dropped := j.Flush(true)
	size := 0
	for _, f := range frames {
		size += len(f)
	}
	if dropped == 0 || size > 16<<20+100 {
		t.Fatalf("%d frames dropped, %d bytes kept", dropped, size)
	}
	var ask *roster.Fetch
	for _, f := range frames {
		if _, a := r.Hear(node, f); a != nil {
			ask = a
		}
	}
	if ask == nil {
		t.Fatal("nobody copies")
	}
	for ask != nil {
		page, err := j.Answer(ask.Request)
		_, ask = r.Page(ask, page, err)
	}
	if r.Len() != n {
		t.Errorf("%d members, want %d", r.Len(), n)
	}
}

// What nobody may send does no harm, and what is there stays right.
func FuzzHear(f *testing.F) {
	j := roster.NewJournal(1)
	j.Join(roster.Member{Channel: "room:x", Info: info("ann", "c1", `{}`, ""), Present: true, Announced: true})
	j.Leave(j.Join(roster.Member{Channel: "room:x", Info: info("ann", "c1", `{}`, "x"), Present: true}))
	frames, _ := j.Flush(true)
	page, err := j.Answer([]byte{1, 3, 1, 0})
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range append(frames, page) {
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, asPage bool) {
		r := roster.New(8)
		good, bad := channel.Node{ID: "good", Incarnation: 1}, channel.Node{ID: "bad", Incarnation: 1}
		other := roster.NewJournal(1)
		other.Join(roster.Member{Channel: "room:x", Info: info("bob", "c9", "", ""), Present: true, Announced: true})
		fill(t, r, good, other)
		fetch := r.Up(bad)
		told := 0
		count := func(events []roster.Event) {
			for _, e := range events {
				if e.Info.Client == "" || channel.CheckName(e.Channel) != nil {
					t.Errorf("told of %q in %q", e.Info.Client, e.Channel)
				}
				if told--; e.Joined {
					told += 2
				}
			}
		}
		if asPage {
			events, _ := r.Page(fetch, b, nil)
			count(events)
		}
		events, _ := r.Hear(bad, b)
		count(events)
		events, _ = r.Hear(bad, b)
		count(events)
		if r.Len() > 8 {
			t.Errorf("%d members", r.Len())
		}
		r.Down(bad)
		events, more := r.Sweep(100)
		count(events)
		if more || told != 0 || r.Len() != 1 || len(r.Members("room:x", 1<<20)) != 1 {
			t.Errorf("%d are told as joined, %d are here", told, r.Len())
		}
	})
}
