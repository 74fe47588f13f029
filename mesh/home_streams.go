package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"

	"myelin/observe"
)

// streamHome is where the server keeps one stream: what it is, a checksum of
// that, and its messages in a directory. What it is and the checksum are written
// one after the other, before the first message and with every change, and a
// server that finds one without the other does not know the stream any more,
// nor can it make another one in its place.
type streamHome struct {
	name, path string
}

// mendStreams makes whole what a process left half written that died while it
// made or changed a stream. A stream that has messages and no description is
// not touched: the error says so.
func (h *home) mendStreams(log *slog.Logger) error {
	streams := filepath.Join(h.path, storeDir, server.JetStreamStoreDir, globalAccount, "streams")
	all, err := os.ReadDir(streams)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return wrong(h.path, "cannot be read", err)
	}
	for _, entry := range all {
		// A name with a dot is that of one which the server was removing.
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		s := &streamHome{entry.Name(), filepath.Join(streams, entry.Name())}
		done, err := s.mend()
		if err != nil {
			return wrong(h.path, fmt.Sprintf("has a stream %s whose description cannot be used; restore the directory from a copy, "+
				"or move %s away and lose what it keeps", s.name, s.path), err)
		}
		if done != "" {
			log.Warn("the last process died while it wrote what a stream is", observe.KeyID, s.name, observe.KeyReason, done)
		}
	}
	return nil
}

// mend returns what was done, if anything was.
func (s *streamHome) mend() (done string, err error) {
	about, err := s.read(server.JetStreamMetaFile)
	if err != nil {
		return "", err
	}
	if len(about) == 0 {
		// Nobody was told that there is such a stream.
		if err := s.empty(); err != nil {
			return "", err
		}
		return "it is made anew", os.RemoveAll(s.path)
	}
	if _, err := os.Stat(filepath.Join(s.path, server.JetStreamMetaFileKey)); err == nil {
		return "", nil // encrypted, which no server of ours does
	}
	sum, err := s.read(server.JetStreamMetaFileSum)
	if err != nil {
		return "", err
	}
	right, err := s.sum(about)
	if err != nil || string(sum) == right {
		return "", err
	}
	var info server.FileStreamInfo
	if err := json.Unmarshal(about, &info); err != nil {
		return "", err
	}
	if info.Name != s.name {
		return "", fmt.Errorf("it is that of the stream %q", info.Name)
	}
	if len(sum) > 0 && !s.changed() {
		return "", errors.New("its checksum is wrong, and no change of it was under way")
	}
	name := filepath.Join(s.path, server.JetStreamMetaFileSum)
	if err := writeSynced(name+".new", []byte(right)); err != nil {
		return "", err
	}
	return "it has its checksum now", os.Rename(name+".new", name)
}

// read returns a file of the stream, nothing where there is none.
func (s *streamHome) read(name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(s.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// sum returns the checksum of a description, as the server makes it.
func (s *streamHome) sum(about []byte) (string, error) {
	key := sha256.Sum256([]byte(s.name))
	hash, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return "", err
	}
	_, _ = hash.Write(about) // a hash never returns one
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// empty returns an error where the stream has messages.
func (s *streamHome) empty() error {
	all, err := os.ReadDir(filepath.Join(s.path, "msgs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range all {
		// The file for the first ones is made before there are any.
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Size() > 0 {
			return fmt.Errorf("it is missing, and there are messages in msgs/%s", entry.Name())
		}
	}
	return nil
}

// changed reports whether the description was written after its checksum was.
func (s *streamHome) changed() bool {
	about, err := os.Stat(filepath.Join(s.path, server.JetStreamMetaFile))
	if err != nil {
		return false
	}
	sum, err := os.Stat(filepath.Join(s.path, server.JetStreamMetaFileSum))
	return err == nil && about.ModTime().After(sum.ModTime())
}
