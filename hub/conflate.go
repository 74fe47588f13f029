package hub

import "myelin/channel"

// conflation is the newest delivery of each key, in the order of their
// offsets. A log channel has one key, "".
//
// Whoever is given them in this order knows, at each of them, all that
// matters of what came before it; so his position is that of the last one he
// got, and recovering from it is exact.
type conflation struct {
	// list has nil where a newer one of the same key stands further on.
	list  []*delivery
	index map[string]int
}

// key is what the newest delivery of is kept: of a pattern's, those of each
// channel apart.
func (d *delivery) key() string {
	if d.event.order == 0 {
		return d.event.Pub.Key
	}
	return d.event.Pub.Channel + "\x00" + d.event.Pub.Key
}

// put adds a delivery of a publication and returns the one whose place it took,
// nil where it took none.
func (c *conflation) put(d *delivery) (replaced *delivery) {
	key := d.key()
	if i, known := c.index[key]; known {
		replaced = c.list[i]
		if i == len(c.list)-1 {
			c.list[i] = d
			return replaced
		}
		c.list[i] = nil
	}
	if len(c.list) >= 2*len(c.index)+16 {
		c.compact()
	}
	if c.index == nil {
		c.index = make(map[string]int, 1)
	}
	c.index[key] = len(c.list)
	c.list = append(c.list, d)
	return replaced
}

// compact forgets the holes.
func (c *conflation) compact() {
	kept := c.list[:0]
	for _, d := range c.list {
		if d != nil {
			c.index[d.key()] = len(kept)
			kept = append(kept, d)
		}
	}
	clear(c.list[len(kept):])
	c.list = kept
}

// holds reports whether a publication is among what waits.
func (c *conflation) holds(at channel.Position) bool {
	for _, d := range c.list {
		if d != nil && d.event.Pub.Position == at {
			return true
		}
	}
	return false
}

// size is how many keys there are.
func (c *conflation) size() int { return len(c.index) }

// take returns what there is and forgets it. The answer is good until the next
// call of a method, and has holes.
func (c *conflation) take() []*delivery {
	l := c.list
	c.list = c.list[:0]
	if len(c.index) > 16 {
		c.index, c.list = nil, nil
	} else {
		clear(c.index)
	}
	return l
}

// newest returns the newest publication of each key, in order.
func newest(pubs []*channel.Publication) []*channel.Publication {
	last := make(map[string]int)
	for i, p := range pubs {
		last[p.Key] = i
	}
	out := make([]*channel.Publication, 0, len(last))
	for i, p := range pubs {
		if last[p.Key] == i {
			out = append(out, p)
		}
	}
	return out
}
