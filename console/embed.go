// Package console is the web page of the server, carried in the binary: a live ECG, the machine's
// telemetry, a chat, every active channel with its live tail, and what the page missed when its link broke.
//
// The page is an ordinary client of the server. It comes from web (TypeScript, Preact, uPlot and the
// unmodified centrifuge client of npm) and is built into dist, which is committed so that building the
// server needs no Node; check-dist.sh proves that dist is what web builds to. An asset is one file of dist.
//
// The handler serves the assets by their exact names and nothing else: no listing of directories, no other
// methods than GET and HEAD. It reads nothing after it is made and may be used by many goroutines at once.
// Each answer carries a strong ETag and no-cache, so that a browser asks every time and is told cheaply that
// nothing changed, and a content security policy that lets the page talk to its own server alone.
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed all:dist
var dist embed.FS

// policy is what the page may load and do. WebSocket origins are named by scheme because older browsers do
// not count ws://host as 'self'.
const policy = "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self'; object-src 'none'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// asset is one file of the page.
type asset struct {
	name        string
	contentType string
	etag        string
	body        []byte
}

// Handler serves the page at "/" and its assets beside it.
func Handler() http.Handler {
	assets, err := load(dist)
	if err != nil {
		// The files are part of the binary: a build that has them cannot fail to read them.
		panic(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, assets)
	})
}

func serve(w http.ResponseWriter, r *http.Request, assets map[string]asset) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-cache")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "the console answers GET and HEAD only", http.StatusMethodNotAllowed)
		return
	}
	found, ok := assets[r.URL.Path]
	if !ok {
		http.Error(w, "the console has no such page; it starts at /", http.StatusNotFound)
		return
	}
	header.Set("Content-Type", found.contentType)
	header.Set("ETag", found.etag)
	http.ServeContent(w, r, found.name, time.Time{}, bytes.NewReader(found.body))
}

// load reads every file under dist and keys it by the path it is served at.
func load(files fs.FS) (map[string]asset, error) {
	root, err := fs.Sub(files, "dist")
	if err != nil {
		return nil, fmt.Errorf("console: open the embedded page: %w", err)
	}
	assets := map[string]asset{}
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		contentType, err := typeOf(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		assets["/"+name] = asset{name: name, contentType: contentType, etag: `"` + hex.EncodeToString(sum[:16]) + `"`, body: body}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("console: read the embedded page: %w", err)
	}
	index, ok := assets["/index.html"]
	if !ok {
		return nil, errors.New("console: dist has no index.html: build it with npm run build in console/web")
	}
	assets["/"] = index
	return assets, nil
}

// typeOf names the content type of an asset. The table is closed: the types that the host's own table would
// give differ from machine to machine.
func typeOf(name string) (string, error) {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8", nil
	case ".js":
		return "text/javascript; charset=utf-8", nil
	case ".css":
		return "text/css; charset=utf-8", nil
	case ".svg":
		return "image/svg+xml", nil
	case ".md":
		return "text/markdown; charset=utf-8", nil
	default:
		return "", fmt.Errorf("console: no content type is known for %s: add its extension", name)
	}
}
