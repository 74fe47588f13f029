package memory

// state is what a state channel has beside its log. A nil one is empty.
type state struct {
	entries index
	// expiry orders the entries that end by themselves.
	expiry heap[*entry]
	// removals counts the calls of Remove, so that a page of a snapshot that
	// began before one is known for what it is.
	removals uint64
}

// entry is one key and what was last put there.
type entry struct {
	pub *kept
	// where is the place in the expiry heap.
	where int
}

func (e *entry) place() int     { return e.where }
func (e *entry) setPlace(i int) { e.where = i }

func (s *state) len() int {
	if s == nil {
		return 0
	}
	return s.entries.n
}

// due returns when the next entry ends, or never.
func (s *state) due() int64 {
	if s == nil {
		return never
	}
	return s.expiry.first()
}

// get returns the entry of a key, or nil.
func (s *state) get(key string) *entry {
	if s == nil {
		return nil
	}
	return s.entries.get(key)
}

// put makes k the entry of its key.
func (s *state) put(old *entry, k *kept, expires int64) {
	e := old
	if e == nil {
		e = &entry{pub: k, where: -1}
		s.entries.add(e)
	} else {
		e.pub = k
	}
	if expires == never {
		s.expiry.remove(e)
		return
	}
	s.expiry.set(e, expires)
}

// drop takes an entry out.
func (s *state) drop(e *entry) {
	s.expiry.remove(e)
	s.entries.remove(e.pub.Key)
}

// offset returns the offset an entry has for a compare-and-set, 0 for none.
func (e *entry) offset() uint64 {
	if e == nil {
		return 0
	}
	return e.pub.Offset
}
