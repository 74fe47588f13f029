package jetstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"myelin/channel"
)

// frameVersion is the first byte of every message. A reader that knows only
// lower ones must not guess.
const frameVersion = 1

// kind says what a message is.
type kind uint8

const (
	// kindPublication is what somebody published.
	kindPublication kind = iota + 1
	// kindCleared takes the place of what was removed from a channel.
	kindCleared
	// kindAnchor remembers the position of a channel that nobody publishes on.
	kindAnchor
	// kindSwept says that deletions before it may be gone from a state channel.
	kindSwept
	// kindTick is a mark in the sequence of a stream: what is behind it is
	// younger than it is.
	kindTick
	kindLast = kindTick
)

// frame is the content of one message.
type frame struct {
	kind kind
	op   channel.Op
	key  string
	// last is, for markers, the offset of the last publication before.
	last uint64
	// prev is, for publications of state channels, that of the one before.
	prev uint64
	// due is when an entry ends, in Unix milliseconds, 0 for never.
	due int64
	// origin is the incarnation of the node that sent it, where no stream keeps
	// it, and time when it did, in Unix milliseconds, where not the stream says.
	origin uint64
	time   int64

	contentType string
	tags        map[string]string
	info        *channel.ClientInfo
	data        []byte
	// expires, score and base are those of the publication.
	expires int64
	score   int64
	base    int
}

// The flags say which fields a frame has. Fields come in this order.
const (
	hasKey = 1 << iota
	hasLast
	hasPrev
	hasDue
	hasOrigin
	hasTime
	isBytes
	hasContentType
	hasTags
	hasInfo
	hasConnInfo
	hasChanInfo
	hasExpires
	hasScore
	hasBase
	knownFlags = 1<<iota - 1
)

// Why a frame cannot be read.
var (
	errNewer  = errors.New("the message is of a newer version of Myelin; update this node")
	errFrame  = errors.New("the message is none of Myelin's, or damaged")
	errNoRoom = fmt.Errorf("%w: a field is longer than what is left", errFrame)
)

// flags says which fields f has.
func (f *frame) flags() (flags uint64) {
	set := func(flag uint64, is bool) {
		if is {
			flags |= flag
		}
	}
	set(hasKey, f.key != "")
	set(hasLast, f.last != 0)
	set(hasPrev, f.prev != 0)
	set(hasDue, f.due != 0)
	set(hasOrigin, f.origin != 0)
	set(hasTime, f.time != 0)
	set(isBytes, f.contentType == channel.ContentBytes)
	set(hasContentType, f.contentType != channel.ContentJSON && f.contentType != channel.ContentBytes)
	set(hasTags, len(f.tags) > 0)
	if f.info != nil {
		set(hasInfo, true)
		set(hasConnInfo, f.info.ConnInfo != nil)
		set(hasChanInfo, f.info.ChanInfo != nil)
	}
	set(hasExpires, f.expires != 0)
	set(hasScore, f.score != 0)
	set(hasBase, f.base != 0)
	return flags
}

// encode returns the frame as bytes, the same for equal frames.
func (f *frame) encode() []byte {
	flags := f.flags()
	b := make([]byte, 0, 64+len(f.data)+len(f.key))
	b = append(b, frameVersion, byte(f.kind), byte(f.op))
	b = binary.AppendUvarint(b, flags)
	if flags&hasKey != 0 {
		b = appendText(b, f.key)
	}
	if flags&hasLast != 0 {
		b = binary.AppendUvarint(b, f.last)
	}
	if flags&hasPrev != 0 {
		b = binary.AppendUvarint(b, f.prev)
	}
	if flags&hasDue != 0 {
		b = binary.AppendUvarint(b, uint64(f.due))
	}
	if flags&hasOrigin != 0 {
		b = binary.BigEndian.AppendUint64(b, f.origin)
	}
	if flags&hasTime != 0 {
		b = binary.AppendUvarint(b, uint64(f.time))
	}
	if flags&hasContentType != 0 {
		b = appendText(b, f.contentType)
	}
	if flags&hasTags != 0 {
		b = binary.AppendUvarint(b, uint64(len(f.tags)))
		for _, k := range slices.Sorted(maps.Keys(f.tags)) {
			b = appendText(appendText(b, k), f.tags[k])
		}
	}
	if flags&hasInfo != 0 {
		b = appendText(appendText(b, f.info.User), f.info.Client)
	}
	if flags&hasConnInfo != 0 {
		b = appendText(b, string(f.info.ConnInfo))
	}
	if flags&hasChanInfo != 0 {
		b = appendText(b, string(f.info.ChanInfo))
	}
	if flags&hasExpires != 0 {
		b = binary.AppendUvarint(b, uint64(f.expires))
	}
	if flags&hasScore != 0 {
		b = binary.AppendVarint(b, f.score)
	}
	if flags&hasBase != 0 {
		b = binary.AppendUvarint(b, uint64(f.base))
	}
	return append(b, f.data...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decode reads a frame, whose data is part of b. Where the message is of a
// newer version the error is errNewer, else errFrame.
func decode(b []byte) (frame, error) {
	if len(b) < 4 || b[0] == 0 {
		return frame{}, errFrame
	}
	if b[0] > frameVersion || kind(b[1]) > kindLast {
		return frame{}, errNewer
	}
	f := frame{kind: kind(b[1]), op: channel.Op(b[2])}
	r := reader{b: b[3:]}
	flags := r.number()
	if r.err == nil && flags&^knownFlags != 0 {
		return frame{}, errNewer
	}
	if f.kind == 0 || f.op > channel.OpExpire {
		return frame{}, errFrame
	}
	r.fields(&f, flags)
	if r.err != nil {
		return frame{}, r.err
	}
	if f.base < 0 || f.base > len(r.b) {
		return frame{}, errFrame
	}
	f.data = r.b
	return f, nil
}

// reader takes fields off the front of a message. Its first error stays.
type reader struct {
	b   []byte
	err error
}

// fields reads what flags say that there is.
func (r *reader) fields(f *frame, flags uint64) {
	if flags&hasKey != 0 {
		f.key = r.text()
	}
	if flags&hasLast != 0 {
		f.last = r.number()
	}
	if flags&hasPrev != 0 {
		f.prev = r.number()
	}
	if flags&hasDue != 0 {
		f.due = int64(r.number())
	}
	if flags&hasOrigin != 0 {
		f.origin = r.fixed()
	}
	if flags&hasTime != 0 {
		f.time = int64(r.number())
	}
	if flags&isBytes != 0 {
		f.contentType = channel.ContentBytes
	}
	if flags&hasContentType != 0 {
		f.contentType = r.text()
	}
	if flags&hasTags != 0 {
		r.tags(f)
	}
	if flags&hasInfo != 0 {
		f.info = &channel.ClientInfo{User: r.text(), Client: r.text()}
		if flags&hasConnInfo != 0 {
			f.info.ConnInfo = []byte(r.text())
		}
		if flags&hasChanInfo != 0 {
			f.info.ChanInfo = []byte(r.text())
		}
	}
	if flags&hasExpires != 0 {
		f.expires = int64(r.number())
	}
	if flags&hasScore != 0 {
		f.score = r.signed()
	}
	if flags&hasBase != 0 {
		f.base = int(r.number())
	}
}

func (r *reader) tags(f *frame) {
	n := r.number()
	if n > uint64(len(r.b)/2) {
		r.err = errNoRoom
		return
	}
	f.tags = make(map[string]string, n)
	for range n {
		k := r.text()
		f.tags[k] = r.text()
	}
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.err != nil || size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) signed() int64 {
	n, size := binary.Varint(r.b)
	if r.err != nil || size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) fixed() uint64 {
	if r.err != nil || len(r.b) < 8 {
		r.fail()
		return 0
	}
	n := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return n
}

func (r *reader) text() string {
	n := r.number()
	if r.err != nil || n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errNoRoom
	}
}
