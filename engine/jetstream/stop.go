package jetstream

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"myelin/channel"
	"myelin/observe"
)

// A node alone writes down that it stopped as it should, so that what it had
// written without a flush goes on under its epoch. Where that is not written,
// or not what is there, something may be gone. Nothing here is fsynced: what was
// written before the machine itself was started anew may be an older testimony
// that came back, so it counts for nothing.

// stopped is what is written down.
type stopped struct {
	Life life `json:"life"`
	// Boot is which run of the machine it was.
	Boot string `json:"boot"`
	// Sequences are the last ones of the streams.
	Sequences map[string]uint64 `json:"sequences"`
}

func (l *lives) stopStream() string  { return assetToken(l.engine.options.Prefix) + "_stop" }
func (l *lives) stopSubject() string { return l.engine.options.Prefix + ".stop" }

// testify writes down that the node stops as it should. Nothing may be
// published any more.
func (l *lives) testify(ctx context.Context) error {
	l.mu.Lock()
	known := l.mu.known
	l.mu.Unlock()
	if known == nil {
		return nil
	}
	js := l.engine.js
	w := stopped{Life: *known, Boot: l.boot(), Sequences: make(map[string]uint64)}
	for _, s := range l.engine.streams.all() {
		if s.key.durability != channel.DurabilityAsync {
			continue
		}
		last, err := l.lastSequence(ctx, s.name)
		if err != nil {
			return err
		}
		w.Sequences[s.name] = last
	}
	if len(w.Sequences) == 0 {
		return nil
	}
	_, err := js.CreateOrUpdateStream(ctx, natsjs.StreamConfig{
		Name: l.stopStream(), Description: "How Myelin was stopped.", Subjects: []string{l.stopSubject()}, MaxMsgsPerSubject: 1,
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", l.stopStream(), err)
	}
	m := nats.NewMsg(l.stopSubject())
	if m.Data, err = json.Marshal(w); err != nil {
		return err
	}
	_, err = l.engine.send(ctx, m, true)
	return err
}

// resume goes on with the life that was there before a stop, where the stop
// was as it should be. It counts once.
func (l *lives) resume(ctx context.Context) error {
	js := l.engine.js
	st, err := js.Stream(ctx, l.stopStream())
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", l.stopStream(), err)
	}
	raw, err := l.engine.fetcher.lastRaw(ctx, l.stopStream(), l.stopSubject())
	if err != nil || raw == nil {
		return err
	}
	if err := st.Purge(ctx); err != nil {
		return fmt.Errorf("stream %s: %w", l.stopStream(), err)
	}
	w, ok := readStopped(raw.Data)
	if !ok || w.Boot == "" || w.Boot != l.boot() {
		return nil
	}
	for name, last := range w.Sequences {
		there, err := l.lastSequence(ctx, name)
		if err != nil {
			return err
		}
		if there != last {
			l.engine.options.Logger.Warn("a stream is not what it was when it was stopped; its channels begin a new epoch", observe.KeyReason, name)
			return nil
		}
	}
	_, err = l.find(ctx, life{Disk: w.Life.Disk, Memory: rand.Text()})
	return err
}

// boot returns what names this run of the machine, "" where nothing does.
func (l *lives) boot() string {
	b, err := os.ReadFile(l.engine.options.bootFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func readStopped(b []byte) (w stopped, ok bool) {
	ok = json.Unmarshal(b, &w) == nil && w.Life.Disk != ""
	return w, ok
}

// lastSequence returns where a stream is, 0 where there is none.
func (l *lives) lastSequence(ctx context.Context, name string) (uint64, error) {
	st, err := l.engine.js.Stream(ctx, name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", name, err)
	}
	return st.CachedInfo().State.LastSeq, nil
}
