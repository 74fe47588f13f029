package mesh

import "sync"

// queue is a line of work with an end: it takes no more than so many things
// and bytes of each class, and never blocks who adds to it.
type queue[T any] struct {
	maxCount, maxBytes int
	// more has room for one word: that something is there.
	more chan struct{}
	mu   struct {
		sync.Mutex
		items []queued[T]
		load  map[string]load
	}
}

type queued[T any] struct {
	item  T
	class string
	bytes int
}

type load struct{ count, bytes int }

func newQueue[T any](maxCount, maxBytes int) *queue[T] {
	q := &queue[T]{maxCount: maxCount, maxBytes: maxBytes, more: make(chan struct{}, 1)}
	q.mu.load = make(map[string]load)
	return q
}

// add adds something of a class and a size, if there is room.
func (q *queue[T]) add(item T, class string, bytes int) bool {
	q.mu.Lock()
	l := q.mu.load[class]
	if l.count >= q.maxCount || l.bytes+bytes > q.maxBytes && l.count > 0 {
		q.mu.Unlock()
		return false
	}
	q.mu.load[class] = load{l.count + 1, l.bytes + bytes}
	q.pushLocked(queued[T]{item, class, bytes})
	return true
}

// force adds something that must not be lost, and that there is little of.
func (q *queue[T]) force(item T) {
	q.mu.Lock()
	q.pushLocked(queued[T]{item: item})
}

func (q *queue[T]) pushLocked(item queued[T]) {
	q.mu.items = append(q.mu.items, item)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take returns all that is there, oldest first. What is taken makes room when
// done is called with it.
func (q *queue[T]) take() []queued[T] {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.mu.items
	q.mu.items = nil
	return all
}

// done makes room for what takes the place of an item.
func (q *queue[T]) done(item queued[T]) {
	if item.class == "" {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.mu.load[item.class]
	if l.count--; l.count == 0 {
		delete(q.mu.load, item.class)
		return
	}
	l.bytes -= item.bytes
	q.mu.load[item.class] = l
}
