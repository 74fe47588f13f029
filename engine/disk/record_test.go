package disk_test

import (
	"bytes"
	"testing"

	"myelin/channel"
	"myelin/engine/disk"
)

// pubs are publications with all there can be in them.
func pubs() []*channel.Publication {
	return []*channel.Publication{
		{},
		{Data: []byte("{}"), Time: 1_700_000_000_000},
		{Op: channel.OpPut, Key: "k", Data: []byte{0, 1}, ContentType: channel.ContentBytes, Time: -5},
		{Op: channel.OpExpire, Key: "k", ContentType: "text/plain", Tags: map[string]string{"b": "1", "a": ""}},
		{Data: []byte("x"), Tags: map[string]string{}, Info: &channel.ClientInfo{User: "u", Client: "c", ConnInfo: []byte("{}"), ChanInfo: []byte{}}},
		{Info: &channel.ClientInfo{}},
		{Op: channel.OpPut, Key: "k", Data: []byte("123"), Score: -7, Base: 2, Expires: 1_790_000_000_000},
	}
}

// recoded is what a fuzzer asks of a decoder: whatever it takes, it writes the
// same again, and takes that.
func recoded(t *testing.T, b []byte, recode func([]byte) ([]byte, error)) {
	t.Helper()
	once, err := recode(b)
	if err != nil {
		return
	}
	twice, err := recode(once)
	if err != nil || !bytes.Equal(once, twice) {
		t.Errorf("%x is written as %x, and that as %x, %v", b, once, twice, err)
	}
}

func FuzzPublication(f *testing.F) {
	for _, p := range pubs() {
		f.Add(disk.PubRecord(p, 77))
	}
	f.Fuzz(func(t *testing.T, b []byte) { recoded(t, b, disk.RecodePub) })
}

func FuzzEntry(f *testing.F) {
	for _, p := range pubs() {
		f.Add(disk.EntryRecord(3, 99, p))
	}
	f.Fuzz(func(t *testing.T, b []byte) { recoded(t, b, disk.RecodeEntry) })
}

func FuzzMeta(f *testing.F) {
	f.Add(disk.MetaRecord())
	f.Fuzz(func(t *testing.T, b []byte) { recoded(t, b, disk.RecodeMeta) })
}

func FuzzID(f *testing.F) {
	f.Add(disk.IDRecord())
	f.Fuzz(func(t *testing.T, b []byte) { recoded(t, b, disk.RecodeID) })
}

func FuzzTally(f *testing.F) {
	f.Add(disk.TallyRecord())
	f.Fuzz(func(t *testing.T, b []byte) { recoded(t, b, disk.RecodeTally) })
}

func FuzzWitness(f *testing.F) {
	f.Add(disk.Slot())
	f.Fuzz(func(t *testing.T, b []byte) {
		slot, ok := disk.RecodeSlot(b)
		if !ok {
			return
		}
		if again, ok := disk.RecodeSlot(slot); !ok || !bytes.Equal(again, slot) {
			t.Errorf("%x is written as %x, and that as %x", b, slot, again)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add("MDAwMDAwMDABAGtleQ")
	f.Add("MDAwMDAwMDD__________wEAa2V5")
	f.Fuzz(func(t *testing.T, s string) {
		again, ok := disk.RecodeCursor(s)
		if !ok {
			return
		}
		if twice, ok := disk.RecodeCursor(again); !ok || twice != again {
			t.Errorf("%q is written as %q, and that as %q", s, again, twice)
		}
	})
}

// TestRecords holds the format: what is on disks today is read tomorrow.
func TestRecords(t *testing.T) {
	for _, c := range []struct {
		what   string
		record []byte
		golden string
	}{
		{"publication", disk.PubRecord(pubs()[2], 77), "\x03\x01\x9a\x01\xa3\x01\x01k\x00\x01"},
		{"publication with info", disk.PubRecord(pubs()[4], 77), "\x18\x00\x9a\x01\x99\x01\x00\x01u\x01c\x03{}\x01x"},
		{"publication with tags", disk.PubRecord(pubs()[3], 77), "\x0d\x03\x9a\x01\x99\x01\x01k\x0atext/plain\x02\x01a\x00\x01b\x011"},
		{"entry", disk.EntryRecord(3, 99, pubs()[0]), "\x03\x63\x00\x00\x02\x01"},
		{"meta", disk.MetaRecord(), "\x01\x00\x01\x00\x07\x03\x00\x00\x09\x05\x00\x0012345678"},
		{"id", disk.IDRecord(), "\x11\x0912345678"},
		{"tally", disk.TallyRecord(), "\x05\x06"},
	} {
		if string(c.record) != c.golden {
			t.Errorf("%s is written as %q, want %q", c.what, c.record, c.golden)
		}
	}
}

// A record whose base is no part of its data is damaged: who follows a growing
// text would take it for what he has.
func TestBaseIsWithinTheData(t *testing.T) {
	for base, whole := range map[int]bool{-1: false, 3: true, 4: false} {
		p := &channel.Publication{Op: channel.OpPut, Key: "k", Data: []byte("123"), Base: base}
		if _, err := disk.RecodePub(disk.PubRecord(p, 77)); (err == nil) != whole {
			t.Errorf("base %d of 3 bytes: %v", base, err)
		}
	}
}
