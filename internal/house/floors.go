package house

import (
	"path"
	"strings"
)

// Garden is the floor number of the rooms beside the house.
const Garden = -1

// A floor is a level of the house: the rooms on it may import lower floors only.
// A room "x/*" stands for every child of x, and the children are strangers.
type floor struct {
	level int
	rooms []string
}

// floors is the architecture, from the ground up.
var floors = []floor{
	{0, []string{"channel", "filter", "internal/*"}},
	{1, []string{"protocol", "auth", "observe", "roster", "socket"}},
	{2, []string{"hub", "mesh"}},
	{3, []string{"conversation", "consumer"}},
	{4, []string{"engine/*", "door/*", "process/*", "media", "edge", "hook"}},
	{5, []string{"config", "console"}},
	{6, []string{"server"}},
	{7, []string{"cmd/myelin"}},
}

// A plot is one room of the garden. What it reaches, directly or through
// other rooms, must be in reaches.
type plot struct {
	room    string
	reaches []string
}

// garden lists the rooms beside the house. A plot with an empty list holds no
// product code, or code that stands alone.
var garden = []plot{
	{"client", []string{"protocol", "channel"}},
	{"demo", []string{"client", "protocol", "channel", "auth", "observe", "internal/*"}},
	{"bench", []string{"protocol", "channel", "internal/*"}},
	{"examples", []string{"client", "protocol", "channel"}},
	{"e2e", nil},
	{"docs", nil},
	{"deploy", nil},
	{"tools", nil},
}

// gardeners are the rooms of the house that may use rooms of the garden.
var gardeners = map[string][]string{
	"server":     {"client", "demo", "bench"},
	"cmd/myelin": {"client", "demo", "bench"},
}

// A fixture is a room that the tests of other rooms may use although the floors
// say no. Product code may not.
type fixture struct {
	room  string
	users []string
	why   string
}

// fixtures are few on purpose: each one couples tests to a room above them.
var fixtures = []fixture{
	{
		"engine/memory",
		[]string{"hub", "conversation", "consumer", "door/*", "process/*", "media", "edge", "hook"},
		"the reference engine: a hub without an engine shows nothing",
	},
	{
		"internal/memnet",
		[]string{"internal/pipe"},
		"the network of tests in virtual time",
	},
	{
		"door/emulation",
		[]string{"door/sse", "door/httpstream"},
		"the other half of their two-way conversations",
	},
}

// A ban keeps a room away from imports that its sentence in the design excludes
// although the floors would allow them.
type ban struct {
	room    string
	imports []string
	why     string
}

// bans hold for product code, not for tests.
var bans = []ban{
	{
		"hub",
		[]string{"net", "net/http", "os", "protocol"},
		"the hub knows no socket, no disk and no wire format",
	},
	{
		"channel",
		[]string{"net", "net/http", "os"},
		"the vocabulary does no input or output",
	},
}

// badNames are package names that say nothing about what is inside.
var badNames = []string{"util", "utils", "common", "pkg", "helper", "helpers", "misc", "shared"}

// place says where a package stands: its room, and the room's floor.
// ok is false when the table does not know the package.
func place(pkg string) (room string, level int, ok bool) {
	for _, f := range floors {
		for _, pattern := range f.rooms {
			if room, ok := roomIn(pattern, pkg); ok {
				return room, f.level, true
			}
		}
	}
	for _, p := range garden {
		if room, ok := roomIn(p.room, pkg); ok {
			return room, Garden, true
		}
	}
	return "", 0, false
}

// roomIn returns the room that pkg belongs to if pattern covers it: for
// "door/*" and "door/sse/frame" that is "door/sse".
func roomIn(pattern, pkg string) (string, bool) {
	family, isFamily := strings.CutSuffix(pattern, "/*")
	rest, below := strings.CutPrefix(pkg, family+"/")
	switch {
	case isFamily && below:
		child, _, _ := strings.Cut(rest, "/")
		return path.Join(family, child), true
	case !isFamily && (below || pkg == family):
		return family, true
	}
	return "", false
}

// covered reports whether one of the patterns covers pkg.
func covered(patterns []string, pkg string) bool {
	for _, pattern := range patterns {
		if _, ok := roomIn(pattern, pkg); ok {
			return true
		}
	}
	return false
}

// plotOf returns the garden's entry for a room; without one it reaches nothing.
func plotOf(room string) plot {
	for _, p := range garden {
		if p.room == room {
			return p
		}
	}
	return plot{room: room}
}
