package mesh

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"myelin/channel"
)

const (
	// indexFile is where the server keeps a summary of a stream, beside its
	// messages.
	indexFile = "index.db"
	// damageFile notes in a directory that messages are missing from it.
	damageFile = "damaged.json"
)

// unindex removes the summaries of the streams, where this node has peers that
// have what it lost. With them the server takes for granted that the messages
// are whole; without them it reads and verifies each one.
func (h *home) unindex() error {
	streams := filepath.Join(h.path, storeDir, "jetstream", globalAccount, "streams")
	all, err := os.ReadDir(streams)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return wrong(h.path, "cannot be read", err)
	}
	for _, stream := range all {
		err := os.Remove(filepath.Join(streams, stream.Name(), "msgs", indexFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return wrong(h.path, "cannot be written", err)
		}
	}
	return nil
}

// damage is what the note about a directory says.
type damage struct {
	Stream string    `json:"stream"`
	Lacks  uint64    `json:"lacks"`
	Found  time.Time `json:"found"`
}

// refusal is how an operator hears of it.
func (d *damage) refusal(node, path string) error {
	return channel.ErrUnavailable.With(fmt.Sprintf("the data of node %s in %s is damaged: stream %s lacks %d messages that other nodes have; "+
		"empty the directory (or move it away) and start the node again: it gets everything from the others", node, path, d.Stream, d.Lacks))
}

// mark notes that the directory is damaged.
func (h *home) mark(d *damage) error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(h.path, damageFile)
	return errors.Join(writeSynced(name, append(text, '\n')), syncDir(h.path))
}

// checkDamage refuses a directory that was found damaged before.
func (h *home) checkDamage(node string) error {
	text, err := os.ReadFile(filepath.Join(h.path, damageFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d := new(damage)
	if err != nil || json.Unmarshal(text, d) != nil {
		return wrong(h.path, "was found damaged before; empty it (or move it away) and start the node again: it gets everything from the others", err)
	}
	return d.refusal(node, h.path)
}

// prepare makes a directory ready for the server of a node with peers.
func (h *home) prepare(node string) error {
	if err := h.checkDamage(node); err != nil {
		return err
	}
	return h.unindex()
}
