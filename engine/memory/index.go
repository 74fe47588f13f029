package memory

import (
	"slices"
	"strings"
)

// chunkMax is the most entries in one chunk of an index. Adding one moves at
// most so many pointers.
const chunkMax = 128

// index holds the entries of a state channel in order of their keys, as
// sorted chunks: half the memory of a map, and a page is a walk.
type index struct {
	chunks [][]*entry
	n      int
}

// find returns where key is, or where it would be.
func (x *index) find(key string) (c, i int, ok bool) {
	c, _ = slices.BinarySearchFunc(x.chunks, key, func(chunk []*entry, key string) int {
		return strings.Compare(chunk[len(chunk)-1].pub.Key, key)
	})
	if c == len(x.chunks) {
		if c == 0 {
			return 0, 0, false
		}
		c--
	}
	i, ok = slices.BinarySearchFunc(x.chunks[c], key, func(e *entry, key string) int {
		return strings.Compare(e.pub.Key, key)
	})
	return c, i, ok
}

// get returns the entry of key, or nil.
func (x *index) get(key string) *entry {
	if c, i, ok := x.find(key); ok {
		return x.chunks[c][i]
	}
	return nil
}

// add puts in an entry whose key is not there.
func (x *index) add(e *entry) {
	x.n++
	if len(x.chunks) == 0 {
		x.chunks = [][]*entry{{e}}
		return
	}
	c, i, _ := x.find(e.pub.Key)
	if len(x.chunks[c]) == chunkMax {
		x.split(c)
		c, i, _ = x.find(e.pub.Key)
	}
	x.chunks[c] = slices.Insert(x.chunks[c], i, e)
}

// split makes two chunks of one. A new entry after the very last is the sign
// of rising keys, but halves serve those well enough.
func (x *index) split(c int) {
	old := x.chunks[c]
	half := len(old) / 2
	tail := append(make([]*entry, 0, chunkMax), old[half:]...)
	clear(old[half:])
	x.chunks[c] = old[:half]
	x.chunks = slices.Insert(x.chunks, c+1, tail)
}

// remove takes out the entry of key, which must be there.
func (x *index) remove(key string) {
	c, i, _ := x.find(key)
	x.n--
	x.chunks[c] = slices.Delete(x.chunks[c], i, i+1)
	if len(x.chunks[c]) == 0 {
		x.chunks = slices.Delete(x.chunks, c, c+1)
		return
	}
	if next := c + 1; next < len(x.chunks) && len(x.chunks[c])+len(x.chunks[next]) <= chunkMax/2 {
		x.chunks[c] = append(x.chunks[c], x.chunks[next]...)
		x.chunks = slices.Delete(x.chunks, next, next+1)
	}
}

// after returns up to limit publications of the entries whose keys come after
// key (all where first is set), and whether there are more.
func (x *index) after(key string, first bool, limit int) (page []*entry, more bool) {
	if x.n == 0 {
		return nil, false
	}
	c, i := 0, 0
	if !first {
		var ok bool
		if c, i, ok = x.find(key); ok {
			i++
		}
	}
	page = make([]*entry, 0, min(limit, x.n))
	for ; c < len(x.chunks); c, i = c+1, 0 {
		for ; i < len(x.chunks[c]); i++ {
			if len(page) == limit {
				return page, true
			}
			page = append(page, x.chunks[c][i])
		}
	}
	return page, false
}
