package memory

import "math"

// never is the due time of what is not due at all.
const never = math.MaxInt64

// placed is a thing that remembers its place in a heap, -1 when in none.
type placed interface {
	place() int
	setPlace(i int)
}

// heap orders things by the time they are due, the earliest first.
type heap[T placed] struct {
	items []heapItem[T]
}

type heapItem[T placed] struct {
	due int64
	v   T
}

// first returns when the earliest is due, or never.
func (h *heap[T]) first() int64 {
	if len(h.items) == 0 {
		return never
	}
	return h.items[0].due
}

// set puts v in, or moves it, to be due at the given time.
func (h *heap[T]) set(v T, due int64) {
	i := v.place()
	if i < 0 {
		i = len(h.items)
		h.items = append(h.items, heapItem[T]{due, v})
		v.setPlace(i)
	}
	h.items[i].due = due
	if !h.up(i) {
		h.down(i)
	}
}

// remove takes v out, if it is in.
func (h *heap[T]) remove(v T) {
	i := v.place()
	if i < 0 {
		return
	}
	last := len(h.items) - 1
	if i != last {
		h.swap(i, last)
	}
	h.items[last] = heapItem[T]{}
	h.items = h.items[:last]
	v.setPlace(-1)
	if i != last && !h.up(i) {
		h.down(i)
	}
	if last == 0 {
		h.items = nil
	}
}

// pop takes the earliest out. There must be one.
func (h *heap[T]) pop() T {
	v := h.items[0].v
	h.remove(v)
	return v
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].v.setPlace(i)
	h.items[j].v.setPlace(j)
}

func (h *heap[T]) up(i int) bool {
	moved := false
	for i > 0 {
		parent := (i - 1) / 2
		if h.items[parent].due <= h.items[i].due {
			break
		}
		h.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (h *heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if r := child + 1; r < len(h.items) && h.items[r].due < h.items[child].due {
			child = r
		}
		if h.items[i].due <= h.items[child].due {
			return
		}
		h.swap(i, child)
		i = child
	}
}
