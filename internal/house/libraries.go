package house

import "strings"

// A library is a third-party module (or a family of them, by prefix) and the
// rooms that may see it. Everybody else goes through those rooms, so that a
// module can be replaced in one place.
type library struct {
	prefix string
	rooms  []string
	// testRooms are rooms whose tests may see it besides.
	testRooms []string
	// testOnly libraries may be imported by any room's tests and by packages
	// whose name ends in "test", and by nothing else.
	testOnly bool
}

// libraries is the whole list: a module that is not here may not be imported.
var libraries = []library{
	{prefix: "github.com/gobwas/ws", rooms: []string{"socket", "client", "bench"}, testRooms: []string{"door/websocket"}},
	{prefix: "github.com/centrifugal/protocol", rooms: []string{"protocol"}},
	{prefix: "github.com/centrifugal/fdelta", rooms: []string{"protocol"}},
	{prefix: "google.golang.org/protobuf", rooms: []string{"protocol"}},
	{prefix: "github.com/prometheus", rooms: []string{"observe"}},
	{prefix: "github.com/golang-jwt/jwt", rooms: []string{"auth"}},
	{prefix: "github.com/MicahParks/jwkset", rooms: []string{"auth"}},
	{prefix: "go.yaml.in/yaml", rooms: []string{"config"}, testRooms: []string{"door/api"}},
	{prefix: "github.com/alecthomas/kong", rooms: []string{"cmd/myelin"}},
	{prefix: "github.com/cockroachdb/pebble", rooms: []string{"engine/disk"}},
	{prefix: "github.com/nats-io", rooms: []string{"mesh", "engine/jetstream", "edge"}},
	{prefix: "github.com/minio/highwayhash", rooms: []string{"mesh"}},
	{prefix: "golang.org/x/sys", rooms: []string{"socket", "bench", "internal/gauge"}},
	{prefix: "pgregory.net/rapid", testOnly: true},
	{prefix: "go.uber.org/goleak", testOnly: true},
	{prefix: "github.com/rogpeppe/go-internal", testOnly: true},
}

// libraryOf returns the table's entry for an import path.
func libraryOf(importPath string) (library, bool) {
	for _, l := range libraries {
		rest, ok := strings.CutPrefix(importPath, l.prefix)
		if ok && (rest == "" || rest[0] == '/') {
			return l, true
		}
	}
	return library{}, false
}

// isStandard reports whether the import path is of the standard library: its
// first element has no dot.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}
