package consumer

import (
	"slices"

	"myelin/channel"
)

// maxAcked is how many of its last acknowledgements a worker remembers with
// all around them, maxGivenUp how many of what was given up, which the record
// has, too.
const (
	maxAcked   = 256
	maxGivenUp = 64
)

// person is who has a seat.
type person struct {
	Client string `json:"client"`
	User   string `json:"user,omitempty"`
}

// asked reports whether a question about a client or a user is about p.
func (p person) asked(client, user string) bool {
	return p != person{} && (client == "" || client == p.Client) && (user == "" || user == p.User)
}

// acked is one acknowledgement: after how many deliveries, the last of them to
// whom, and when.
type acked struct {
	offset   uint64
	attempts int
	to       person
	at       int64
}

// givenUp is what was given up: one publication, or all from Offset to To.
type givenUp struct {
	Epoch    string `json:"epoch"`
	Offset   uint64 `json:"offset"`
	To       uint64 `json:"to,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
	At       int64  `json:"at"`
	Why      string `json:"why"`
	// Letter is the channel with the dead letter, "" where there is none.
	Letter string `json:"letter,omitempty"`
}

func (g *givenUp) concerns(at channel.Position) bool {
	return g.Epoch == at.Epoch && g.Offset <= at.Offset && at.Offset <= max(g.To, g.Offset)
}

// notes is what a worker remembers of what is settled, to explain it. What is
// settled, not given up and newer than all that was forgotten has been
// acknowledged.
type notes struct {
	// began is the offset behind which the consumer began or was last sent to;
	// nil where its record does not say.
	began *uint64
	acked []acked // the newest at next-1 once it is full
	next  int
	given []givenUp // oldest first
	// forgotten is up to which offset something given up may be missing.
	forgotten uint64
}

// begin notes that the consumer goes on behind a position: nothing that was
// known of this epoch is of any use.
func (n *notes) begin(at channel.Position) {
	n.began, n.acked, n.next, n.forgotten = &at.Offset, nil, 0, 0
	n.given = slices.DeleteFunc(n.given, func(g givenUp) bool { return g.Epoch == at.Epoch })
}

func (n *notes) ack(a acked) {
	if len(n.acked) < maxAcked {
		n.acked = append(n.acked, a)
		return
	}
	n.acked[n.next] = a
	n.next = (n.next + 1) % maxAcked
}

func (n *notes) giveUp(g givenUp) {
	if len(n.given) >= maxGivenUp {
		if old := &n.given[0]; old.Epoch == g.Epoch {
			n.forgotten = max(n.forgotten, old.To, old.Offset)
		}
		n.given = slices.Delete(n.given, 0, 1)
	}
	n.given = append(n.given, g)
}

// ackedAt returns the newest acknowledgement of an offset, nil for none.
func (n *notes) ackedAt(offset uint64) *acked {
	for i := range n.acked {
		a := &n.acked[(n.next+len(n.acked)-1-i+len(n.acked))%len(n.acked)]
		if a.offset == offset {
			return a
		}
	}
	return nil
}

// givenUpAt returns what was given up at a position, nil for nothing.
func (n *notes) givenUpAt(at channel.Position) *givenUp {
	for i := range slices.Backward(n.given) {
		if n.given[i].concerns(at) {
			return &n.given[i]
		}
	}
	return nil
}

// covers reports whether all that was given up at an offset of the current
// epoch is known.
func (n *notes) covers(offset uint64) bool { return n.began != nil && offset > n.forgotten }
