package hook

import (
	"sync"
	"time"

	"myelin/observe"
)

// breaker keeps a hook whose backend fails from being asked. It opens after
// some failures in a row; after the cooldown one request may try, and closes it
// or has it wait again.
type breaker struct {
	most     int
	cooldown time.Duration
	open     *observe.Gauge

	mu struct {
		sync.Mutex
		failures int
		// until is when the next one may try; zero is closed.
		until time.Time
		// trying: one does.
		trying bool
	}
}

// allow reports whether to ask now. Who is allowed says done.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.until.IsZero():
		return true
	case b.mu.trying || time.Now().Before(b.mu.until):
		return false
	}
	b.mu.trying = true
	return true
}

// done notes how it went, and reports whether the breaker has just opened.
func (b *breaker) done(ok bool) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.trying = false
	if ok {
		b.mu.failures, b.mu.until = 0, time.Time{}
		b.open.Set(0)
		return false
	}
	if b.mu.failures++; b.mu.failures < b.most {
		return false
	}
	opened = b.mu.until.IsZero()
	b.mu.until = time.Now().Add(b.cooldown)
	b.open.Set(1)
	return opened
}

// cancelled notes that a request came to nothing that says anything.
func (b *breaker) cancelled() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.trying = false
}
