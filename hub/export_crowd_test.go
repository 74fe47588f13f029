package hub

// NewsWaiting returns how many joins and leaves of a channel are kept that its
// watchers have not been told, those that came to nothing included.
func (h *Hub) NewsWaiting(name string) int {
	t := h.topics.get(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.mu.crowd.waiting)
}
