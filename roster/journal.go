package roster

import (
	"fmt"
	"sync"

	"myelin/channel"
)

// maxPending is how many bytes of changes a journal keeps between two flushes.
const maxPending = 16 << 20

// Place is where a journal keeps a member. The zero Place is nowhere.
type Place uint32

// Journal is the members of one incarnation of a node.
type Journal struct {
	incarnation uint64
	// most is how many bytes a frame or page may have.
	most int
	// due has something in it while there are changes to flush.
	due chan struct{}

	mu struct {
		sync.Mutex
		// slots holds the members, free the places that are empty. A member
		// keeps its place, which is what makes pages right. The first slot is
		// never used.
		slots []slot
		free  []Place
		// tickets counts all that were given, count and sum tell of those in
		// use.
		tickets, count, sum uint64
		// number is that of the last closed frame; open is the entries of the
		// next one and before the member of its last join.
		number  uint64
		open    []byte
		before  Member
		closed  [][]byte
		pending int
		dropped int
	}
}

type slot struct {
	Member
	ticket uint64
}

// NewJournal returns the journal of an incarnation without members.
func NewJournal(incarnation uint64) *Journal {
	j := &Journal{incarnation: incarnation, most: MaxFrame, due: make(chan struct{}, 1)}
	j.mu.slots = make([]slot, 1)
	return j
}

// Due has something in it when there are changes to flush.
func (j *Journal) Due() <-chan struct{} { return j.due }

// Join enters a member and returns where it is. One that is too large for an
// entry is nowhere.
func (j *Journal) Join(m Member) Place {
	if m.size() > MaxEntry {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.tickets++
	s := slot{Member: m, ticket: j.mu.tickets}
	var at Place
	if n := len(j.mu.free); n > 0 {
		at = j.mu.free[n-1]
		j.mu.free = j.mu.free[:n-1]
		j.mu.slots[at] = s
	} else {
		at = Place(len(j.mu.slots))
		j.mu.slots = append(j.mu.slots, s)
	}
	j.mu.count++
	j.mu.sum += hash(s.ticket)
	j.roomLocked(m.size())
	j.mu.open = appendJoin(j.mu.open, s.ticket, &m, &j.mu.before)
	j.mu.before = m
	return at
}

// Leave takes a member out again. Nowhere is where nobody is.
func (j *Journal) Leave(at Place) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if int(at) >= len(j.mu.slots) || j.mu.slots[at].ticket == 0 {
		return
	}
	ticket := j.mu.slots[at].ticket
	j.mu.slots[at] = slot{}
	j.mu.free = append(j.mu.free, at)
	j.mu.count--
	j.mu.sum -= hash(ticket)
	j.roomLocked(maxHead)
	j.mu.open = appendLeave(j.mu.open, ticket)
}

// roomLocked makes room for an entry of so many bytes, and says that there is
// something to flush.
func (j *Journal) roomLocked(size int) {
	if len(j.mu.open) > 0 && len(j.mu.open)+size > j.most-maxHead {
		j.closeLocked()
	}
	if len(j.mu.open) == 0 {
		select {
		case j.due <- struct{}{}:
		default:
		}
	}
}

// closeLocked ends the open frame and begins the next one.
func (j *Journal) closeLocked() {
	j.mu.number++
	f := append(head(kindChanges, j.mu.number), j.mu.open...)
	j.mu.open, j.mu.before = j.mu.open[:0], Member{}
	if j.mu.pending+len(f) > maxPending {
		// Their numbers are used: whoever hears the next frame or digest knows
		// that he missed something.
		j.mu.dropped += len(j.mu.closed) + 1
		j.mu.closed, j.mu.pending = nil, 0
		return
	}
	j.mu.closed = append(j.mu.closed, f)
	j.mu.pending += len(f)
}

// Flush returns the frames to broadcast, in their order, and with them a
// digest where the caller wants one. dropped is how many frames there was no
// room for since the last flush.
func (j *Journal) Flush(withDigest bool) (frames [][]byte, dropped int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.mu.open) > 0 {
		j.closeLocked()
	}
	if cap(j.mu.open) > MaxFrame/8 {
		j.mu.open = nil
	}
	frames, dropped = j.mu.closed, j.mu.dropped
	j.mu.closed, j.mu.pending, j.mu.dropped = nil, 0, 0
	if withDigest {
		frames = append(frames, head(kindDigest, j.mu.number, j.mu.count, j.mu.sum))
	}
	return frames, dropped
}

// Len returns how many members there are.
func (j *Journal) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int(j.mu.count)
}

// Answer returns the page that another node asks for.
func (j *Journal) Answer(request []byte) ([]byte, error) {
	r := reader{b: request}
	var incarnation, cursor uint64
	if !r.open(kindAsk, &incarnation, &cursor) {
		return nil, channel.ErrBadRequest.With("this is no request for members, or one of another version")
	}
	if incarnation != j.incarnation {
		return nil, channel.ErrConflict.With(fmt.Sprintf("incarnation %d is asked for, this is %d", incarnation, j.incarnation))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.mu.open) > 0 {
		j.closeLocked() // so that the page is exactly what its number says
	}
	var entries []byte
	var before Member
	at := max(cursor, 1)
	for ; at < uint64(len(j.mu.slots)); at++ {
		s := &j.mu.slots[at]
		if s.ticket == 0 {
			continue
		}
		if len(entries) > 0 && len(entries)+s.size() > j.most-maxHead {
			break
		}
		entries = appendJoin(entries, s.ticket, &s.Member, &before)
		before = s.Member
	}
	if at >= uint64(len(j.mu.slots)) {
		at = 0
	}
	return append(head(kindPage, j.mu.number, at), entries...), nil
}
