package disk

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"myelin/channel"
)

// errDamaged is what reading a record that no engine has written comes to.
var errDamaged = errors.New("a record is damaged")

// What is in a publication's record beside its data.
const (
	hasKey = 1 << iota
	hasBytes
	hasType
	hasTags
	hasInfo
	hasMore    // expiry, score and base
	knownFlags = 1<<iota - 1
)

// appendPub appends the record of a publication. Its channel, epoch and offset
// are those of where it is kept.
func appendPub(b []byte, p *channel.Publication, since int64) []byte {
	flags := byte(0)
	if p.Key != "" {
		flags |= hasKey
	}
	switch p.ContentType {
	case channel.ContentJSON:
	case channel.ContentBytes:
		flags |= hasBytes
	default:
		flags |= hasType
	}
	if p.Tags != nil {
		flags |= hasTags
	}
	if p.Info != nil {
		flags |= hasInfo
	}
	if p.Expires != 0 || p.Score != 0 || p.Base != 0 {
		flags |= hasMore
	}
	b = append(b, flags, byte(p.Op))
	b = binary.AppendVarint(b, since)
	b = binary.AppendVarint(b, p.Time-since)
	if flags&hasKey != 0 {
		b = appendText(b, p.Key)
	}
	if flags&hasType != 0 {
		b = appendText(b, p.ContentType)
	}
	if flags&hasTags != 0 {
		b = appendTags(b, p.Tags)
	}
	if flags&hasInfo != 0 {
		b = appendText(b, p.Info.User)
		b = appendText(b, p.Info.Client)
		b = appendBytes(b, p.Info.ConnInfo)
		b = appendBytes(b, p.Info.ChanInfo)
	}
	if flags&hasMore != 0 {
		b = binary.AppendVarint(b, p.Expires)
		b = binary.AppendVarint(b, p.Score)
		b = binary.AppendUvarint(b, uint64(p.Base))
	}
	return append(b, p.Data...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendBytes keeps nil and empty apart.
func appendBytes(b, s []byte) []byte {
	if s == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(s))+1), s...)
}

func appendTags(b []byte, tags map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(tags)))
	names := make([]string, 0, len(tags))
	for k := range tags {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		b = appendText(appendText(b, k), tags[k])
	}
	return b
}

// reader takes a record apart. After the first thing that is not there it
// gives zeros and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	return append([]byte{}, r.take(n-1)...)
}

func (r *reader) tags() map[string]string {
	n := r.uvarint()
	// Each takes two bytes at least.
	if n > uint64(len(r.b))/2 {
		r.fail()
		return nil
	}
	tags := make(map[string]string, n)
	for range n {
		k := r.text()
		tags[k] = r.text()
	}
	return tags
}

// end returns an error unless the record was whole and nothing is left of it.
func (r *reader) end() error {
	if r.bad || len(r.b) > 0 {
		return errDamaged
	}
	return nil
}

// parsePub reads the record of a publication into memory of its own.
func parsePub(b []byte) (p *channel.Publication, since int64, err error) {
	r := reader{b: b}
	flags := r.byte()
	if flags > knownFlags || flags&(hasBytes|hasType) == hasBytes|hasType {
		return nil, 0, errDamaged
	}
	p = &channel.Publication{Op: channel.Op(r.byte())}
	since = r.varint()
	p.Time = since + r.varint()
	if flags&hasKey != 0 {
		p.Key = r.text()
	}
	switch {
	case flags&hasBytes != 0:
		p.ContentType = channel.ContentBytes
	case flags&hasType != 0:
		p.ContentType = r.text()
	}
	if flags&hasTags != 0 {
		p.Tags = r.tags()
	}
	if flags&hasInfo != 0 {
		p.Info = &channel.ClientInfo{User: r.text(), Client: r.text(), ConnInfo: r.bytes(), ChanInfo: r.bytes()}
	}
	if flags&hasMore != 0 {
		p.Expires, p.Score, p.Base = r.varint(), r.varint(), int(r.uvarint())
	}
	if r.bad || p.Op > channel.OpExpire || p.Base < 0 || p.Base > len(r.b) {
		return nil, 0, errDamaged
	}
	p.Data = append([]byte{}, r.b...)
	return p, since, nil
}

// sinceOf returns since when a publication is kept, without reading the rest.
func sinceOf(b []byte) (int64, error) {
	r := reader{b: b}
	r.take(2)
	since := r.varint()
	if r.bad {
		return 0, errDamaged
	}
	return since, nil
}

// stake is where an entry of a state channel stands: the offset it was put
// at and when it ends, 0 for never.
type stake struct {
	offset  uint64
	expires int64
}

func (s stake) ended(now int64) bool { return s.expires != 0 && now >= s.expires }

// appendEntry appends the record of an entry.
func appendEntry(b []byte, s stake, p *channel.Publication, since int64) []byte {
	b = binary.AppendUvarint(b, s.offset)
	b = binary.AppendUvarint(b, uint64(s.expires))
	return appendPub(b, p, since)
}

// parseStake reads the front of an entry's record and returns the rest.
func parseStake(b []byte) (stake, []byte, error) {
	r := reader{b: b}
	s := stake{offset: r.uvarint(), expires: int64(r.uvarint())}
	if r.bad || s.expires < 0 {
		return stake{}, nil, errDamaged
	}
	return s, r.b, nil
}

// idRecord is where an id was published, and until when that is remembered.
type idRecord struct {
	at      channel.Position
	expires int64
}

func (i idRecord) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(i.expires))
	b = binary.AppendUvarint(b, i.at.Offset)
	return append(b, i.at.Epoch...)
}

func parseID(b []byte) (idRecord, error) {
	r := reader{b: b}
	i := idRecord{expires: int64(r.uvarint()), at: channel.Position{Offset: r.uvarint()}}
	if r.bad || i.expires < 0 || len(r.b) != epochLen {
		return idRecord{}, errDamaged
	}
	i.at.Epoch = string(r.b)
	return i, nil
}

// tally is the top and the number of entries of a state channel.
type tally struct{ top, entries uint64 }

func (t tally) encode() []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, t.top), t.entries)
}

func parseTally(b []byte) (tally, error) {
	r := reader{b: b}
	t := tally{top: r.uvarint(), entries: r.uvarint()}
	return t, r.end()
}

// meta is what is kept of a channel as a whole.
type meta struct {
	id   uint64
	kind channel.Kind
	// rebirth is that of the store when epoch was written.
	rebirth uint64
	epoch   string
	// top is that of a log when the record was written; publications behind
	// it are kept.
	top uint64
	// floor is the offset up to which nothing is on disk.
	floor uint64
	// removals counts the calls of Remove.
	removals uint64
	// used is when the channel was last known to be used.
	used int64
	// visit is the minute of the next visit.
	visit int64
	// terms are what the sweeper needs of the policy.
	terms terms
}

// terms are the part of a policy that is written down.
type terms struct {
	durability  channel.Durability
	historySize int
	historyTTL  time.Duration
	metaTTL     time.Duration
}

func termsOf(p *channel.Policy) terms {
	return terms{durability: p.Durability, historySize: p.HistorySize, historyTTL: p.HistoryTTL, metaTTL: p.MetaTTL}
}

// policy returns one of these terms, for a channel nobody has called yet.
func (m meta) policy() *channel.Policy {
	return &channel.Policy{
		Kind: m.kind, Durability: m.terms.durability,
		HistorySize: m.terms.historySize, HistoryTTL: m.terms.historyTTL, MetaTTL: m.terms.metaTTL,
	}
}

func (m meta) encode() []byte {
	b := []byte{byte(m.kind), byte(m.terms.durability)}
	for _, n := range []uint64{
		m.id, m.rebirth, m.top, m.floor, m.removals, uint64(m.used), uint64(m.visit),
		uint64(m.terms.historySize), uint64(m.terms.historyTTL), uint64(m.terms.metaTTL),
	} {
		b = binary.AppendUvarint(b, n)
	}
	return append(b, m.epoch...)
}

func parseMeta(b []byte) (meta, error) {
	r := reader{b: b}
	m := meta{kind: channel.Kind(r.byte()), terms: terms{durability: channel.Durability(r.byte())}}
	m.id, m.rebirth, m.top, m.floor, m.removals = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	m.used, m.visit = int64(r.uvarint()), int64(r.uvarint())
	m.terms.historySize = int(r.uvarint())
	m.terms.historyTTL, m.terms.metaTTL = time.Duration(r.uvarint()), time.Duration(r.uvarint())
	switch {
	case r.bad, len(r.b) != epochLen, m.id == 0, m.floor > channel.MaxOffset, m.top > channel.MaxOffset,
		m.kind > channel.KindState, m.terms.durability > channel.DurabilitySync,
		m.used < 0, m.visit < 0, m.terms.historySize < 0, m.terms.historyTTL < 0, m.terms.metaTTL < 0:
		return meta{}, errDamaged
	}
	m.epoch = string(r.b)
	return m, nil
}
