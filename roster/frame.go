package roster

import (
	"encoding/binary"

	"myelin/channel"
)

// Bounds of frames.
const (
	// MaxFrame is how many bytes a frame or a page has at most.
	MaxFrame = 256 << 10
	// MaxEntry is how many bytes one member may take.
	MaxEntry = 64 << 10
	// maxHead is how many bytes the head of a frame may take.
	maxHead = 32
	// maxClient is how long the id of a client may be.
	maxClient = 64
)

// version is the first byte of each frame. Another one is not read.
const version = 1

// The kinds of frame, the second byte.
const (
	kindChanges = 1 // number, entries
	kindDigest  = 2 // number, how many members, the sum of their hashes
	kindAsk     = 3 // incarnation, cursor
	kindPage    = 4 // number, next cursor or 0, entries that are joins
)

// The first byte of an entry. A leave has nothing but its ticket behind it.
const (
	flagLeave       = 1 << iota
	flagPresent     // presence shows it
	flagAnnounced   // others are told of it
	flagSameChannel // the channel is that of the entry before
	flagSameClient  // user, client and info are those of the entry before
	flagConnInfo    // the connection's info follows
	flagChanInfo    // the subscription's info follows
	flagUnknown     // no such flag yet
)

// Member is one subscription, as other nodes see it. Its Info is not changed.
type Member struct {
	Channel string
	Info    *channel.ClientInfo
	// Present: presence shows it. Announced: others hear that it comes and
	// goes.
	Present, Announced bool
}

// head begins a frame.
func head(kind byte, numbers ...uint64) []byte {
	b := append(make([]byte, 0, maxHead), version, kind)
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// appendText appends text behind its length.
func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// sameClient reports whether two infos tell the same of a client, its
// subscription aside.
func sameClient(a, b *channel.ClientInfo) bool {
	return a.Client == b.Client && a.User == b.User && string(a.ConnInfo) == string(b.ConnInfo)
}

// appendJoin appends the entry of m, where before is the member of the entry
// before, or nobody.
func appendJoin(b []byte, ticket uint64, m, before *Member) []byte {
	flags := byte(0)
	set := func(on bool, flag byte) {
		if on {
			flags |= flag
		}
	}
	follows := before.Info != nil
	set(m.Present, flagPresent)
	set(m.Announced, flagAnnounced)
	set(follows && m.Channel == before.Channel, flagSameChannel)
	set(follows && sameClient(m.Info, before.Info), flagSameClient)
	set(len(m.Info.ConnInfo) > 0, flagConnInfo)
	set(len(m.Info.ChanInfo) > 0, flagChanInfo)
	b = binary.AppendUvarint(append(b, flags), ticket)
	if flags&flagSameChannel == 0 {
		b = appendText(b, m.Channel)
	}
	if flags&flagSameClient == 0 {
		b = binary.AppendUvarint(b, uint64(len(m.Info.User)))
		b = binary.AppendUvarint(b, uint64(len(m.Info.Client)))
		b = append(append(b, m.Info.User...), m.Info.Client...)
		if flags&flagConnInfo != 0 {
			b = appendText(b, m.Info.ConnInfo)
		}
	}
	if flags&flagChanInfo != 0 {
		b = appendText(b, m.Info.ChanInfo)
	}
	return b
}

func appendLeave(b []byte, ticket uint64) []byte {
	return binary.AppendUvarint(append(b, flagLeave), ticket)
}

// size returns no less than how many bytes the entry of m takes.
func (m *Member) size() int {
	const around = 1 + 6*binary.MaxVarintLen64
	return around + len(m.Channel) + len(m.Info.User) + len(m.Info.Client) + len(m.Info.ConnInfo) + len(m.Info.ChanInfo)
}

// reader takes a frame apart. Once something was wrong it is bad, and
// everything it returns is empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) number() uint64 {
	n, used := binary.Uvarint(r.b)
	if used <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[used:]
	return n
}

// take returns the next n bytes, which are part of the frame.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) text() []byte { return r.take(r.number()) }

// open reads the head of a frame: its version, its kind and its numbers.
func (r *reader) open(kind byte, numbers ...*uint64) bool {
	if r.byte() != version || r.byte() != kind {
		r.bad, r.b = true, nil
	}
	for _, n := range numbers {
		*n = r.number()
	}
	return !r.bad
}

// kindOf returns the kind of a frame, 0 where it is no frame of this version.
func kindOf(b []byte) byte {
	if len(b) < 2 || b[0] != version {
		return 0
	}
	return b[1]
}

// entry is one join or leave, read from a frame. Its channel is part of the
// frame; user and client share one string.
type entry struct {
	leave, present, announced bool
	ticket                    uint64
	channel                   []byte
	info                      channel.ClientInfo
}

// entry reads the next entry into e, which holds the one before.
func (r *reader) entry(e *entry) bool {
	flags := r.byte()
	ticket := r.number()
	if flags >= flagUnknown {
		r.bad = true
	}
	if e.leave = flags&flagLeave != 0; e.leave {
		e.ticket = ticket
		r.bad = r.bad || flags != flagLeave
		return !r.bad
	}
	e.ticket, e.present, e.announced = ticket, flags&flagPresent != 0, flags&flagAnnounced != 0
	if flags&flagSameChannel == 0 {
		e.channel = r.text()
	}
	if flags&flagSameClient == 0 {
		user, client := r.number(), r.number()
		if user > MaxFrame || client > maxClient {
			r.bad = true
			return false
		}
		both := string(r.take(user + client))
		if r.bad {
			return false
		}
		e.info = channel.ClientInfo{User: both[:user], Client: both[user:]}
		if flags&flagConnInfo != 0 {
			e.info.ConnInfo = append([]byte(nil), r.text()...)
		}
	} else {
		r.bad = r.bad || (flags&flagConnInfo != 0) != (len(e.info.ConnInfo) > 0)
	}
	e.info.ChanInfo = nil
	if flags&flagChanInfo != 0 {
		e.info.ChanInfo = append([]byte(nil), r.text()...)
	}
	r.bad = r.bad || e.info.Client == "" || channel.CheckName(string(e.channel)) != nil
	return !r.bad
}

// digest is what a node says of itself now and then.
type digest struct {
	number, count, sum uint64
}

// hash spreads a ticket over 64 bits (splitmix64), so that the sum of hashes
// tells sets of tickets apart.
func hash(ticket uint64) uint64 {
	z := ticket + 0x9e3779b97f4a7c15
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}
