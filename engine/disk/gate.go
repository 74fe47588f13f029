package disk

import (
	"context"
	"sync"
)

// gate lets so many publications, with so many bytes, be under way to the
// disk. One that is larger than all the bytes goes alone.
type gate struct {
	maxCount int
	maxBytes int64
	mu       struct {
		sync.Mutex
		count   int
		bytes   int64
		waiting []*pass
	}
}

// pass is somebody who waits for his turn.
type pass struct {
	bytes int64
	open  chan struct{}
}

// enter waits until there is room. It returns false where one of ctx and ill
// is over first.
func (g *gate) enter(ctx context.Context, ill <-chan struct{}, bytes int64) bool {
	g.mu.Lock()
	if len(g.mu.waiting) == 0 && g.fits(bytes) {
		g.mu.count++
		g.mu.bytes += bytes
		g.mu.Unlock()
		return true
	}
	p := &pass{bytes: bytes, open: make(chan struct{})}
	g.mu.waiting = append(g.mu.waiting, p)
	g.mu.Unlock()
	select {
	case <-p.open:
		return true
	case <-ctx.Done():
	case <-ill:
	}
	g.mu.Lock()
	for i, w := range g.mu.waiting {
		if w == p {
			g.mu.waiting = append(g.mu.waiting[:i], g.mu.waiting[i+1:]...)
			g.mu.Unlock()
			return false
		}
	}
	g.mu.Unlock()
	// The turn came at the same moment.
	return true
}

func (g *gate) fits(bytes int64) bool {
	return g.mu.count == 0 || g.mu.count < g.maxCount && g.mu.bytes+bytes <= g.maxBytes
}

// leave makes room.
func (g *gate) leave(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.count--
	g.mu.bytes -= bytes
	for len(g.mu.waiting) > 0 && g.fits(g.mu.waiting[0].bytes) {
		p := g.mu.waiting[0]
		g.mu.waiting[0] = nil
		g.mu.waiting = g.mu.waiting[1:]
		g.mu.count++
		g.mu.bytes += p.bytes
		close(p.open)
	}
}

// clear forgets those who will not leave any more. Nobody waits.
func (g *gate) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.count, g.mu.bytes = 0, 0
}
