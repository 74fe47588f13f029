package mesh

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"myelin/channel"
	"myelin/observe"
)

const (
	// formatVersion is how our part of the directory is written. The server
	// itself looks after its own.
	formatVersion = 1
	// identityFile says whose directory it is.
	identityFile = "myelin.json"
	lockFile     = "LOCK"
	// product is what the identity names.
	product = "myelin mesh"
)

// identity is what is in the identity file. The node and cluster names are
// those that the data in the directory knows itself by.
type identity struct {
	Product string `json:"product"`
	Format  uint64 `json:"format"`
	Node    string `json:"node"`
	// Cluster is empty for a node alone.
	Cluster string    `json:"cluster"`
	Created time.Time `json:"created"`
}

// home is a directory that is ours.
type home struct {
	path string
	lock *os.File
}

// wrong returns an error about a directory.
func wrong(path, what string, err error) error {
	e := channel.ErrUnavailable.With(fmt.Sprintf("the data directory %s %s", path, what))
	if err != nil {
		e = e.Wrap(err)
	}
	return e
}

// enterHome finds out whose directory it is and locks it. Nothing is written
// to one that is not ours.
func enterHome(o *Options) (*home, error) {
	h := &home{path: o.StorePath}
	if _, err := h.look(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(h.path, 0o750); err != nil {
		return nil, wrong(h.path, "cannot be made; make it, and let this process write to it", err)
	}
	if err := h.takeLock(); err != nil {
		return nil, err
	}
	// Somebody may have been in there between the look and the lock.
	id, err := h.look()
	if err == nil {
		err = h.settle(id, o)
	}
	switch {
	case err != nil:
	case o.scrubs():
		err = h.prepare(o.Node)
	case !o.clustered():
		// A node of a cluster is told by the others what its streams are.
		err = h.mendStreams(o.Logger.With(observe.KeyComponent, "mesh"))
	}
	if err != nil {
		h.leave()
		return nil, err
	}
	return h, nil
}

// leave gives the directory back.
func (h *home) leave() {
	// Closing it is what unlocks it.
	_ = h.lock.Close()
}

func (h *home) takeLock() error {
	name := filepath.Join(h.path, lockFile)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return wrong(h.path, "cannot be written; let this process write to it", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return wrong(h.path, "is in use by another process; stop that one, or give each its own", err)
	}
	h.lock = f
	return nil
}

// look reads the identity, if there is one, and refuses a directory that
// another program or a newer Myelin has made.
func (h *home) look() (*identity, error) {
	entries, err := os.ReadDir(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, wrong(h.path, "cannot be read", err)
	}
	foreign := ""
	for _, entry := range entries {
		switch entry.Name() {
		case identityFile:
			return h.readIdentity()
		case lockFile, identityFile + ".new", "lost+found":
		default:
			foreign = entry.Name()
		}
	}
	if foreign != "" {
		return nil, wrong(h.path, fmt.Sprintf("has a %q but no %s: it is not that of a cluster node; give an empty one", foreign, identityFile), nil)
	}
	return nil, nil
}

func (h *home) readIdentity() (*identity, error) {
	text, err := os.ReadFile(filepath.Join(h.path, identityFile))
	if err != nil {
		return nil, wrong(h.path, "cannot be read", err)
	}
	id := new(identity)
	err = json.Unmarshal(text, id)
	switch {
	case err != nil || id.Format == 0:
		return nil, wrong(h.path, "has a damaged "+identityFile+"; restore it from a copy", err)
	case id.Product != product:
		return nil, wrong(h.path, fmt.Sprintf("is that of %q; give an empty one", id.Product), nil)
	case id.Format > formatVersion:
		return nil, wrong(h.path, fmt.Sprintf("is of format %d, written by a newer Myelin; this one knows formats up to %d: upgrade it",
			id.Format, formatVersion), nil)
	}
	return id, nil
}

// settle holds what the directory says against what is wanted, and notes it in
// a new one.
func (h *home) settle(id *identity, o *Options) error {
	cluster := ""
	if o.clustered() {
		cluster = o.Cluster
	}
	if id == nil {
		return h.write(identity{Product: product, Format: formatVersion, Node: o.Node, Cluster: cluster, Created: time.Now().UTC()})
	}
	switch {
	case id.Node != o.Node:
		return wrong(h.path, fmt.Sprintf("is that of node %q, and this one is %q: give the node its old name, or its own directory", id.Node, o.Node), nil)
	case id.Cluster == "" && cluster != "":
		// A server that becomes one of several throws away the streams that the
		// others do not know of.
		return wrong(h.path, "was written by a node alone; one of a cluster would throw its data away: give an empty one, and move the data over by way of a client", nil)
	case id.Cluster != "" && cluster == "":
		return wrong(h.path, fmt.Sprintf("is that of a node of cluster %q, and this one would be alone: give it its peers, or another directory", id.Cluster), nil)
	case id.Cluster != cluster:
		return wrong(h.path, fmt.Sprintf("is that of cluster %q, and this one is %q: use the old name, or another directory", id.Cluster, cluster), nil)
	}
	return nil
}

// write writes the identity so that it is there whole or not.
func (h *home) write(id identity) error {
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return wrong(h.path, "cannot be described", err)
	}
	name := filepath.Join(h.path, identityFile)
	if err := writeSynced(name+".new", append(text, '\n')); err != nil {
		return wrong(h.path, "cannot be written", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return wrong(h.path, "cannot be written", err)
	}
	for _, dir := range []string{h.path, filepath.Dir(h.path)} {
		if err := syncDir(dir); err != nil {
			return wrong(h.path, "cannot be written", err)
		}
	}
	return nil
}

func writeSynced(name string, b []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkAbandoned refuses to leave behind data that the cluster counts on: a
// node that kept some and does not any more.
func checkAbandoned(o *Options) error {
	if o.StorePath == "" || isNewcomer(o.StorePath) {
		return nil
	}
	id, err := (&home{path: o.StorePath}).look()
	if err != nil || id == nil {
		return err
	}
	return wrong(o.StorePath, "has data that the cluster counts on, and this node would join without storage: give it its storage back, or remove the node from the cluster and then the directory", nil)
}
