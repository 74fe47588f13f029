package hub

// Lane is how urgent the publications of a namespace are, against those of
// others on the same connection.
type Lane uint8

// The lanes. The server's own words to a client, such as replies and pings, go
// before all of them; the reply that begins or ends a subscription goes with
// its channel.
const (
	// LaneOrdinary is the default.
	LaneOrdinary Lane = iota
	// LaneAlarm goes first, has a reserve of bytes of its own, and nothing of
	// it is dropped or conflated because a client is slow.
	LaneAlarm
	// LaneBulk goes last, and no more of it is handed to a connection at a time
	// than leaves soon, where the connection can tell.
	LaneBulk
)

// lane is a queue of a session's output, in the order in which they leave.
type lane uint8

const (
	laneControl lane = iota
	laneAlarm
	laneOrdinary
	laneBulk
	laneLast // the goodbye
	laneCount
)

// lane returns where a namespace's publications queue.
func (n *Namespace) lane() lane {
	switch n.Lane {
	case LaneAlarm:
		return laneAlarm
	case LaneBulk:
		return laneBulk
	default:
		return laneOrdinary
	}
}

// lane returns where what concerns a subscription queues.
func (sb *sub) lane() lane { return sb.topic.ns.lane() }

// Slow is what becomes of the publications of a namespace that wait for a
// client whose queue is full.
type Slow uint8

// The rules for slow clients.
const (
	// SlowDisconnect ends the connection with a code that asks the client to
	// come back, which it does with its positions.
	SlowDisconnect Slow = iota
	// SlowConflate keeps the newest of each key.
	SlowConflate
	// SlowDropOldest forgets the oldest and tells how many there were.
	SlowDropOldest
	// SlowResync forgets all of the channel and ends the subscription with a
	// code that asks the client to subscribe again, which it does with its
	// position.
	SlowResync
)

// String returns the rule's name in metrics and in words to clients.
func (r Slow) String() string {
	switch r {
	case SlowConflate:
		return "conflate"
	case SlowDropOldest:
		return "drop_oldest"
	case SlowResync:
		return "resync"
	default:
		return "disconnect"
	}
}

// skips reports whether a client that is slow is spared some of the namespace's
// publications.
func (n *Namespace) skips() bool { return n.Slow == SlowConflate || n.Slow == SlowDropOldest }

// slow returns what may be done with what waits for a subscription.
func (sb *sub) slow() Slow {
	if sb.topic.ns.Lane == LaneAlarm {
		return SlowDisconnect
	}
	return sb.topic.ns.Slow
}
