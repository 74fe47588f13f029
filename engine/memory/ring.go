package memory

import (
	"unsafe"

	"myelin/channel"
)

// kept is a publication with the time, on the engine's clock, since which it
// is kept. The two fit one allocation class, so the time costs nothing.
type kept struct {
	channel.Publication
	since int64
}

// keptOverhead is what a kept publication costs beside its content: itself
// and its slot in a ring or an index.
const keptOverhead = int64(unsafe.Sizeof(kept{})) + 8

// tagOverhead is what a tag costs beside its strings.
const tagOverhead = 48

// size returns what k counts against Options.MaxBytes.
func (k *kept) size() int64 {
	n := keptOverhead + int64(len(k.Data)+len(k.Key))
	if len(k.Tags) > 0 { // looking at no map is quicker than at an empty one
		for t, v := range k.Tags {
			n += tagOverhead + int64(len(t)+len(v))
		}
	}
	if i := k.Info; i != nil {
		n += int64(unsafe.Sizeof(*i)) + int64(len(i.User)+len(i.Client)+len(i.ConnInfo)+len(i.ChanInfo))
	}
	return n
}

// ring holds the last publications of a channel, oldest first. It grows as it
// fills and never shrinks but to nothing.
type ring struct {
	slots []*kept
	head  int32
	n     int32
}

// ringStart is how many slots a ring has at first.
const ringStart = 2

func (r *ring) len() int { return int(r.n) }

// at returns the i-th publication, the oldest being the 0th.
func (r *ring) at(i int) *kept {
	i += int(r.head)
	if i >= len(r.slots) {
		i -= len(r.slots)
	}
	return r.slots[i]
}

// push adds k as the newest, in place of the oldest where there are limit.
func (r *ring) push(k *kept, limit int) {
	if int(r.n) == limit {
		r.slots[r.head] = k
		r.head = (r.head + 1) % r.n
		return
	}
	if int(r.n) == len(r.slots) {
		r.grow(limit)
	}
	i := int(r.head) + int(r.n)
	if i >= len(r.slots) {
		i -= len(r.slots)
	}
	r.slots[i] = k
	r.n++
}

func (r *ring) grow(limit int) {
	size := min(max(ringStart, 2*len(r.slots)), limit)
	slots := make([]*kept, size)
	for i := range r.len() {
		slots[i] = r.at(i)
	}
	r.slots, r.head = slots, 0
}

// shift takes the oldest out.
func (r *ring) shift() *kept {
	k := r.slots[r.head]
	r.slots[r.head] = nil
	r.head++
	if int(r.head) == len(r.slots) {
		r.head = 0
	}
	r.n--
	if r.n == 0 {
		*r = ring{}
	}
	return k
}
