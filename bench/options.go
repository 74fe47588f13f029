package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"myelin/bench/swarm"
)

// Options say what to measure and how. The tags are those of the command line;
// a zero value means the same as leaving the flag out.
type Options struct {
	Scenario string `arg:"" name:"scenario" help:"What to measure: idle, fanout, latency, many, storm, or floor (a bare write loop, no server). many needs a server that allows one connection tens of thousands of commands per second."`

	URL      string `name:"url" default:"ws://127.0.0.1:8000/connection/websocket" help:"The server's WebSocket endpoint."`
	PID      int    `name:"pid" help:"The server's process, for its CPU and memory. Without it those are left out."`
	Token    string `name:"token" help:"Connection token. Without it clients connect anonymously."`
	Channel  string `name:"channel" default:"bench" help:"How the channels' names begin; a namespace goes here, as in 'ns:bench'."`
	Protobuf bool   `name:"protobuf" help:"Use the binary encoding instead of JSON."`

	Connections  int           `name:"connections" short:"n" help:"Subscribers. Default: idle 10000, fanout and floor 500, latency 10, many and storm 1000."`
	Channels     int           `name:"channels" help:"idle: channels the subscribers are spread over. Default 1."`
	Publications int           `name:"publications" short:"p" help:"Publications per run. Default: fanout and floor 2000, latency 500, many 50000."`
	Size         int           `name:"size" default:"128" help:"Bytes of a publication's JSON payload."`
	Outstanding  int           `name:"outstanding" default:"8" help:"fanout, many, floor: publications that may be sent but not yet acknowledged and delivered to all."`
	Rate         float64       `name:"rate" help:"Publications per second. Default: latency 50, storm 10."`
	Duration     time.Duration `name:"duration" default:"30s" help:"idle: how long CPU and memory are watched."`
	Settle       time.Duration `name:"settle" default:"3s" help:"idle: how long the server may rest between the last subscription and the watch."`
	Down         time.Duration `name:"down" default:"500ms" help:"storm: how long all connections stay cut."`

	Repeat  int           `name:"repeat" default:"3" help:"Runs; the report has their median and spread."`
	Loops   int           `name:"loops" default:"1" help:"Threads that carry the clients."`
	Dialing int           `name:"dialing" help:"Clients per thread that may be connecting at once. Default 128, storm 1024."`
	Stall   time.Duration `name:"stall" default:"10s" help:"Give up when nothing happened for this long."`
	JSON    bool          `name:"json" help:"Print the report as JSON."`
}

// The scenarios' names.
const (
	Idle    = "idle"
	Fanout  = "fanout"
	Latency = "latency"
	Many    = "many"
	Storm   = "storm"
	Floor   = "floor"
)

// Scenarios are all of them.
func Scenarios() []string {
	return []string{Idle, Fanout, Latency, Many, Storm, Floor}
}

// The bounds that are not the swarm's.
const (
	maxRepeat       = 100
	maxPublications = 10_000_000
)

// OptionError says which option is wrong and what would be right.
type OptionError struct {
	// Option is the flag's name, or "scenario".
	Option string
	// Got is the value.
	Got any
	// Want says what would be right.
	Want string
}

// Error names the option, its value and what would be right.
func (e *OptionError) Error() string {
	return fmt.Sprintf("%s is %v: want %s", e.Option, e.Got, e.Want)
}

// complete fills in what was left out and checks the rest.
func (o Options) complete() (Options, error) {
	if !slices.Contains(Scenarios(), o.Scenario) {
		return o, &OptionError{"scenario", fmt.Sprintf("%q", o.Scenario), strings.Join(Scenarios(), ", ")}
	}
	switch o.Scenario {
	case Idle:
		ownDefault(&o.Connections, 10_000)
	case Fanout, Floor:
		ownDefault(&o.Connections, 500)
		ownDefault(&o.Publications, 2000)
	case Latency:
		ownDefault(&o.Connections, 10)
		ownDefault(&o.Publications, 500)
		ownDefault(&o.Rate, 50)
	case Many:
		ownDefault(&o.Connections, 1000)
		ownDefault(&o.Publications, 50_000)
	case Storm:
		ownDefault(&o.Connections, 1000)
		ownDefault(&o.Rate, 10)
		ownDefault(&o.Dialing, 1024)
	}
	ownDefault(&o.URL, "ws://127.0.0.1:8000/connection/websocket")
	ownDefault(&o.Channel, "bench")
	ownDefault(&o.Channels, 1)
	ownDefault(&o.Size, 128)
	ownDefault(&o.Outstanding, 8)
	ownDefault(&o.Duration, 30*time.Second)
	ownDefault(&o.Settle, 3*time.Second)
	ownDefault(&o.Down, 500*time.Millisecond)
	ownDefault(&o.Repeat, 3)
	ownDefault(&o.Loops, 1)
	ownDefault(&o.Dialing, 128)
	ownDefault(&o.Stall, 10*time.Second)
	return o, o.check()
}

func (o *Options) check() error {
	for _, bound := range []struct {
		option         string
		got, low, high int
	}{
		{"connections", o.Connections, 1, swarm.MaxMembers},
		{"channels", o.Channels, 1, o.Connections},
		{"publications", o.Publications, 0, maxPublications},
		{"size", o.Size, swarm.MinPayload, swarm.MaxMessage / 2},
		{"outstanding", o.Outstanding, 1, swarm.MaxWindow},
		{"repeat", o.Repeat, 1, maxRepeat},
		{"loops", o.Loops, 1, swarm.MaxLoops},
		{"dialing", o.Dialing, 1, swarm.MaxMembers},
	} {
		if bound.got < bound.low || bound.got > bound.high {
			return &OptionError{bound.option, bound.got, fmt.Sprintf("%d to %d", bound.low, bound.high)}
		}
	}
	if o.Connections%o.Channels != 0 {
		return &OptionError{"channels", o.Channels, fmt.Sprintf("a divisor of the %d connections", o.Connections)}
	}
	if o.Rate < 0 || o.Rate > 10_000 {
		return &OptionError{"rate", o.Rate, "more than 0 and at most 10000 per second"}
	}
	for _, wait := range []struct {
		option string
		got    time.Duration
	}{{"duration", o.Duration}, {"settle", o.Settle}, {"down", o.Down}, {"stall", o.Stall}} {
		if wait.got < 0 || wait.got > time.Hour {
			return &OptionError{wait.option, wait.got, "0s to 1h"}
		}
	}
	if o.PID < 0 {
		return &OptionError{"pid", o.PID, "a process id, or 0 for none"}
	}
	return nil
}

// ownDefault sets what was left out.
func ownDefault[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}
