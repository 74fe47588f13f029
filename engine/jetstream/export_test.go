package jetstream

import (
	"maps"
	"slices"

	"myelin/channel"
)

// Deafen has an engine hear nothing of its feeds until heal is called, which is
// like a connection that was lost and made again.
func Deafen(e channel.Engine) (heal func()) {
	j := e.(*Engine)
	feeds := j.feeds.all()
	for _, f := range feeds {
		f.mu.Lock()
		_ = f.mu.sub.Unsubscribe()
		f.mu.Unlock()
	}
	return func() {
		for _, f := range feeds {
			if err := f.listen(); err != nil {
				panic(err)
			}
		}
		j.keeper.disturb()
	}
}

// Streams returns the names of the streams that an engine uses.
func Streams(e channel.Engine) []string {
	j := e.(*Engine)
	names := []string{j.life.stream(), j.life.stopStream()}
	j.streams.mu.RLock()
	defer j.streams.mu.RUnlock()
	for _, s := range slices.Collect(maps.Values(j.streams.mu.byKey)) {
		names = append(names, s.name)
	}
	return names
}
