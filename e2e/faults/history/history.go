package history

import (
	"time"

	"myelin/channel"
)

// Outcome is what a publisher knows of one try to publish.
type Outcome string

// The outcomes.
const (
	// Acked: the server said that it is done.
	Acked Outcome = "acked"
	// Refused: the server said that it is not done, or was never asked.
	Refused Outcome = "refused"
	// Unknown: there was no answer, or one that says just that.
	Unknown Outcome = "unknown"
)

// Position is a place in a channel.
type Position struct {
	Epoch  string `json:"epoch,omitempty"`
	Offset uint64 `json:"offset,omitempty"`
}

// Publish is one try to publish. Times count from the start of the history.
type Publish struct {
	Publisher string `json:"publisher"`
	// Node is the one that was asked.
	Node    string `json:"node"`
	Channel string `json:"channel"`
	// ID is in the data, so that it is known wherever it is seen. Tries with
	// the same id are tries at the same publication.
	ID      string        `json:"id"`
	Call    time.Duration `json:"call"`
	Return  time.Duration `json:"return"`
	Outcome Outcome       `json:"outcome"`
	// Position is what was told with an acknowledgement; a door that tells none
	// leaves it zero.
	Position
	Error string `json:"error,omitempty"`
	// After: it was made when everything was over, so nobody waited before it.
	After bool `json:"after,omitempty"`
}

// Kind is what happened to a subscriber.
type Kind string

// The kinds.
const (
	// Subscribed is the reply to a subscription.
	Subscribed Kind = "subscribed"
	// Publication is a publication.
	Publication Kind = "publication"
	// Interrupted is the end of a connection or of a subscription.
	Interrupted Kind = "interrupted"
)

// Step is one thing that a subscriber saw.
type Step struct {
	At   time.Duration `json:"at"`
	Kind Kind          `json:"kind"`
	// Position of a publication, or from which publications follow.
	Position
	// ID is that of a publication.
	ID string `json:"id,omitempty"`
	// Recovering: the client asked for what it missed. Recovered: it was told
	// that nothing is missing.
	Recovering bool `json:"recovering,omitempty"`
	Recovered  bool `json:"recovered,omitempty"`
	// Reason of an interruption.
	Reason string `json:"reason,omitempty"`
}

// Subscriber is what one client saw of one channel.
type Subscriber struct {
	Client  string `json:"client"`
	Door    string `json:"door"`
	Channel string `json:"channel"`
	// Settled: it was listening when everything was over, and had time enough,
	// so that whatever it was never given is lost.
	Settled bool `json:"settled,omitempty"`
	// Full: there was more than the log could take.
	Full  bool   `json:"full,omitempty"`
	Steps []Step `json:"steps"`
}

// Kept is a publication that was read.
type Kept struct {
	Offset uint64 `json:"offset"`
	ID     string `json:"id"`
}

// Reading is what a reader was told of a channel. One with Final set reads
// everything that is kept, after everything was over.
type Reading struct {
	Node    string        `json:"node"`
	Channel string        `json:"channel"`
	Call    time.Duration `json:"call"`
	Return  time.Duration `json:"return"`
	// Position is that of the channel's last publication.
	Position
	Final bool   `json:"final,omitempty"`
	Kept  []Kept `json:"kept,omitempty"`
}

// Fault is something that was broken on purpose.
type Fault struct {
	Name string        `json:"name"`
	Node string        `json:"node,omitempty"`
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
	// Loses is what it may take from channels of which durability, with a new
	// epoch: nothing, those in memory, or the async ones too.
	Loses Loses `json:"loses,omitempty"`
}

// Loses is how much a fault may take.
type Loses string

// What faults may take.
const (
	LosesNothing Loses = ""
	LosesMemory  Loses = "memory"
	LosesAsync   Loses = "async"
)

// takes says whether a fault that loses l may take publications of durability d.
func (l Loses) takes(d channel.Durability) bool {
	switch d {
	case channel.DurabilityMemory:
		return l != LosesNothing
	case channel.DurabilityAsync:
		return l == LosesAsync
	default:
		return false
	}
}

// Rule is what a channel promised.
type Rule struct {
	Channel    string             `json:"channel"`
	Durability channel.Durability `json:"durability"`
	// Size is how many publications it keeps.
	Size int `json:"size"`
	// Exact: no resume within one epoch may fail, because everything that a
	// client can miss is kept.
	Exact bool `json:"exact,omitempty"`
}

// History is everything that was told.
type History struct {
	Rules       []Rule
	Faults      []Fault
	Publishes   []Publish
	Subscribers []*Subscriber
	Readings    []Reading
	// Full: a publisher's log could not take everything.
	Full bool
}
