package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"myelin/channel"
	"myelin/observe"
)

// maxBackupRequest is how long a request for a backup may be.
const maxBackupRequest = 16 << 10

// archivist is an engine that can copy what it keeps while it runs.
type archivist interface {
	Backup(ctx context.Context, dir string) error
}

// BackupRequest asks the admin listener for a copy of the data.
type BackupRequest struct {
	// Dir is an absolute path on the server's machine. It does not exist, or
	// is an empty directory of the server's own user.
	Dir string `json:"dir"`
}

// BackupResult is the answer to a BackupRequest.
type BackupResult struct {
	Dir     string  `json:"dir,omitempty"`
	Files   int     `json:"files,omitempty"`
	Bytes   int64   `json:"bytes,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	// Error says what is wrong and what would be right; empty for a backup
	// that is whole.
	Error string `json:"error,omitempty"`
}

// backups makes one backup at a time. The admin listener asks for no key, and
// who names a directory here has the server write there with its own rights.
// So only this machine may ask, no page of a browser, and the directory is one
// that no other user of the machine can read or put something else in place of.
type backups struct {
	server *Server
	busy   atomic.Bool
}

// ServeHTTP answers one request.
func (b *backups) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	result, status := BackupResult{}, http.StatusOK
	defer func() {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		// Writing fails only where who asked is gone.
		_ = json.NewEncoder(w).Encode(result)
	}()
	refuse := func(code int, format string, args ...any) {
		status, result = code, BackupResult{Error: fmt.Sprintf(format, args...)}
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		refuse(http.StatusUnsupportedMediaType, "send JSON, with Content-Type: application/json")
		return
	}
	if !fromHere(r) || !ownName(r.Host) {
		refuse(http.StatusForbidden, "a backup is made from the server's own machine only, by a loopback address: run \"myelin backup\" there")
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTimeout))
	var q BackupRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBackupRequest)).Decode(&q); err != nil {
		refuse(http.StatusBadRequest, "want {\"dir\": \"/absolute/path\"}: %v", err)
		return
	}
	engine, ok := b.server.engine.(archivist)
	if !ok {
		refuse(http.StatusNotImplemented, "the %s engine makes no backups: %s", b.server.cfg.Kept(), instead(b.server.cfg.Kept()))
		return
	}
	if !b.busy.CompareAndSwap(false, true) {
		refuse(http.StatusConflict, "another backup is under way; try again when it is done")
		return
	}
	defer b.busy.Store(false)
	done, err := b.make(r.Context(), engine, q.Dir)
	if err != nil {
		refuse(statusOf(err), "%v", err)
		b.server.log.Warn("the backup was not made", observe.KeyErr, err)
		return
	}
	result = done
	b.server.log.Info("a backup was made", observe.KeyPath, done.Dir, observe.KeyCount, done.Files, observe.KeyBytes, done.Bytes)
}

// instead says what to do where an engine makes no backups.
func instead(kind string) string {
	if kind == "memory" {
		return "it keeps nothing to copy; start the server with --data DIR"
	}
	return "the nodes of a cluster keep copies of each other's data; see docs/cluster.md"
}

// fromHere reports whether a request comes from this machine.
func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func statusOf(err error) int {
	if e, ok := errors.AsType[*channel.Error](err); ok && e.Code != channel.CodeBadRequest {
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// make makes a backup in a directory that it has looked at.
func (b *backups) make(ctx context.Context, engine archivist, dir string) (BackupResult, error) {
	dir, err := b.place(dir)
	if err != nil {
		return BackupResult{}, err
	}
	begun := time.Now()
	made := true
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		made = false
	} else if err != nil {
		return BackupResult{}, fmt.Errorf("the directory cannot be made: %w", err)
	}
	if err := ours(dir); err != nil {
		return BackupResult{}, err
	}
	if err := engine.Backup(ctx, dir); err != nil {
		if made {
			// What is in it now is only part of a backup, and all of it ours.
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return BackupResult{}, err
	}
	result := BackupResult{Dir: dir, Seconds: time.Since(begun).Seconds()}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			result.Files++
			result.Bytes += info.Size()
		}
		return err
	})
	return result, err
}

// place returns where a backup may go, links resolved.
func (b *backups) place(dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("the directory %q is not absolute; begin it with /", dir)
	}
	dir = filepath.Clean(dir)
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return "", fmt.Errorf("the directory that %s would be in is not there: %w", dir, err)
	}
	data, err := filepath.Abs(b.server.cfg.Directory())
	if err != nil {
		return "", err
	}
	if data, err = filepath.EvalSymlinks(data); err != nil {
		return "", err
	}
	place := filepath.Join(parent, filepath.Base(dir))
	if rel, err := filepath.Rel(data, place); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", fmt.Errorf("%s is inside the data directory %s; choose one beside it, better on another disk", dir, data)
	}
	for above := parent; ; above = filepath.Dir(above) {
		if err := guarded(above); err != nil {
			return "", err
		}
		if above == filepath.Dir(above) {
			return place, nil
		}
	}
}

// guarded returns nil where no other user could put something else in place of
// what is in a directory.
func guarded(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := ownerOf(info)
	trusted := !ok || owner == 0 || owner == os.Geteuid()
	if shared := info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0; shared || !trusted {
		return fmt.Errorf("other users of this machine can change what is in %s, so they could read the backup; choose another place", dir)
	}
	return nil
}

// ours returns nil for an empty directory of this process's user.
func ours(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is there and is no directory; choose another name", dir)
	}
	if owner, ok := ownerOf(info); ok && owner != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user than the server's; remove it, the server makes it", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty; choose another directory for the backup", dir)
	}
	return nil
}

// ownerOf returns the user a file belongs to.
func ownerOf(info fs.FileInfo) (int, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
