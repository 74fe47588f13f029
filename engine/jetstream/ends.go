package jetstream

import "container/heap"

// ends are when the entries of a channel end, of those that do.
type ends struct {
	byKey map[string]int64
	// heap has the soonest on top, and among them some that are not so any
	// more.
	heap endHeap
}

// end is when an entry ends, or would have.
type end struct {
	at  int64
	key string
}

// set says when the entry of a key ends, 0 for never.
func (e *ends) set(key string, at int64) {
	if at == 0 {
		delete(e.byKey, key)
		return
	}
	if e.byKey == nil {
		e.byKey = make(map[string]int64)
	}
	e.byKey[key] = at
	heap.Push(&e.heap, end{at, key})
	if len(e.heap) > 2*len(e.byKey)+64 {
		e.heap = e.heap[:0]
		for key, at := range e.byKey {
			e.heap = append(e.heap, end{at, key})
		}
		heap.Init(&e.heap)
	}
}

// first returns when the next entry ends, 0 for never.
func (e *ends) first() int64 {
	for len(e.heap) > 0 {
		if top := e.heap[0]; e.byKey[top.key] == top.at {
			return top.at
		}
		heap.Pop(&e.heap)
	}
	return 0
}

// over returns the keys of which the end has come, those first that ended
// first. They stay until they are set anew.
func (e *ends) over(now int64) []string {
	var keys []string
	var done []end
	for first := e.first(); first != 0 && first <= now; first = e.first() {
		next := heap.Pop(&e.heap).(end)
		delete(e.byKey, next.key)
		keys, done = append(keys, next.key), append(done, next)
	}
	// Whoever asked may not succeed, and asks again.
	for _, next := range done {
		e.set(next.key, next.at)
	}
	return keys
}

// endHeap has the soonest on top.
type endHeap []end

func (h endHeap) Len() int           { return len(h) }
func (h endHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h endHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds an end.
func (h *endHeap) Push(x any) { *h = append(*h, x.(end)) }

// Pop takes out the last one.
func (h *endHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = end{}
	*h = old[:len(old)-1]
	return e
}
