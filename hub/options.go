package hub

import (
	"log/slog"
	"runtime"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/observe"
)

// Bounds that are not configured.
const (
	// inboxHighWater is how many messages a shard's inbox may hold before
	// publishers have to wait for it.
	inboxHighWater = 16 << 10
	// inboxLimit is how many there may be before topics leave the feed of the
	// engine, which does not wait, and read on when there is room.
	inboxLimit = 4 * inboxHighWater
	// maxWaiting is how many deliveries a subscription keeps while its
	// recovery is being read; beyond it the client has to subscribe again.
	maxWaiting = 4096
	// maxWrite is how many bytes are joined for one write; only a message that
	// is longer by itself makes a longer one. What a session that does not read
	// costs is one write and Limits.QueueBytes.
	maxWrite = 64 << 10
	// maxReply is how many bytes of publications one reply to a client may
	// hold: who missed more has not recovered, and a longer history is cut. It
	// is what one write may be, and a slow client with it cost.
	maxReply = 4 << 20
	// minProgress is how many bytes that waited a session has to take within
	// PongTimeout to count as alive without a pong.
	minProgress = 16 << 10
	// maxRing is how many publications a topic's hot ring holds.
	maxRing = 256
	// maxRepairing is how many topics are repaired at a time.
	maxRepairing = 256
	// maxRepairs is how often a repair is tried before subscribers are told.
	maxRepairs = 5
	// repairPause is how long it waits between two tries.
	repairPause = 200 * time.Millisecond
	// readTimeout is how long a read on the hub's own account may take.
	readTimeout = 5 * time.Second
	// positionCheck is how often a topic is compared with the engine where
	// nothing else is said.
	positionCheck = 30 * time.Second
	// joinLeaveRate is how many joins and leaves of a channel are told per
	// second where nothing else is said.
	joinLeaveRate = 1000
	// MaxPresence is how many members a presence answer may hold.
	MaxPresence = 10_000
	// timerTick is the granularity of pings and expiry.
	timerTick = time.Second
)

// Options is what a Hub is made of. Engine and Namespaces are required.
type Options struct {
	// Node is the id of this process, as clients and operators see it. With a
	// bus it is that of the bus.
	Node   string
	Engine channel.Engine
	// Bus leads to the other nodes of a cluster; nil is a node alone. It is
	// started by its owner, after the hub was made.
	Bus channel.Bus
	// Namespaces by name; a channel in none of them is unknown.
	Namespaces map[string]*Namespace
	Limits     Limits
	// Bans is who is kept out, nil for nobody ever. It needs RevokedNamespace
	// among the namespaces, and LearnBans before the first session.
	Bans *auth.Bans
	// PingInterval is how often a session is asked for a sign of life, 25 s
	// by default; negative is never. PongTimeout is how long it may take to
	// answer, 10 s by default.
	PingInterval time.Duration
	PongTimeout  time.Duration
	// StaleAfter is how long a session may take to identify itself, 15 s by
	// default.
	StaleAfter time.Duration
	// ExpiredDelay is how long an expired connection or subscription may take
	// to be refreshed, 25 s by default.
	ExpiredDelay time.Duration
	// Shards is how many goroutines write; GOMAXPROCS by default.
	Shards  int
	Metrics *observe.Metrics
	Logger  *slog.Logger
	// Lifecycle has the hub tell who comes and goes; nil is not.
	Lifecycle *Lifecycle
	// Hooks decide in the namespaces that ask them.
	Hooks Hooks
}

// NumericIDs is for whom ids are.
type NumericIDs uint8

// The values of NumericIDs.
const (
	// NumericForText: clients of text formats. A binary client that is widely
	// used asks for ids and, in Node, does not know them again (npm centrifuge
	// 5.8.0 compares Long objects by identity).
	NumericForText NumericIDs = iota
	// NumericForAll: all clients.
	NumericForAll
	// NumericForNobody: no client.
	NumericForNobody
)

// Namespace is the rules of the channels of one namespace.
type Namespace struct {
	Policy *channel.Policy
	Rules  auth.Rules
	// Presence keeps the members of each channel, JoinLeave tells them of
	// each other.
	Presence  bool
	JoinLeave bool
	// JoinLeaveByUser: they are told of the first connection of each user and
	// of the last one, rather than of every connection.
	JoinLeaveByUser bool
	// JoinLeaveRate is how many joins and leaves of one channel are told per
	// second, 1,000 by default. What is beyond waits, and who came and went in
	// the meantime is not told of.
	JoinLeaveRate int
	// ByScore has the entries of a state channel read by score, then key;
	// without it by key.
	ByScore bool
	// OwnKeys lets a client write only the keys that are its user's: the user's
	// id, or what begins with it and a colon.
	OwnKeys bool
	// TagKeys repeats the key of an entry in its tags, see TagKey.
	TagKeys bool
	// Lease is how long an entry that is to go with its session stays when the
	// node of that dies, 30 s by default.
	Lease time.Duration
	// Recover makes every subscription recoverable; without it the client has
	// to ask. It needs a policy that keeps history.
	Recover bool
	// Patterns is who may subscribe to patterns of its channels; nobody means
	// that there are none, and "*" is a character like others. What a
	// subscription then brings is what its session may subscribe to, channel by
	// channel.
	Patterns auth.WhoSet
	// Gate keeps the channels; nil for those that clients publish on.
	Gate Gate
	// Delta lets clients have patches in place of whole publications.
	Delta bool
	// NumericIDs says which clients may know channels by an id, of those that
	// ask. The hub gives one to whoever SubscribeRequest.Numeric says.
	NumericIDs NumericIDs
	// BatchDelay is how long a publication may wait for others to share a
	// write with. 0 waits for nothing: what is there leaves.
	BatchDelay time.Duration
	// PositionCheck is how often a topic is compared with the engine's top;
	// 30 s by default, negative is never.
	PositionCheck time.Duration
	// Lane is how urgent its publications are, Slow what becomes of them where
	// they wait for a client whose queue is full.
	Lane Lane
	Slow Slow
	// AskSubscribe and AskPublish have the hooks decide who may, and the rules
	// nothing. A subscription token needs no asking.
	AskSubscribe, AskPublish bool
	// Expiry is after how long a publication is handed to nobody any more where
	// its sender does not say; 0 is never. It is for log channels.
	Expiry time.Duration
	// System says that the server made it for itself: its name begins with "$",
	// nobody else writes to it, and a client reads it only by a token that names
	// its channels.
	System bool
	// Rates are how much may be published to it.
	Rates Rates
	// MessageBytes is the largest publication, where that is less than
	// Limits.MessageBytes; 0 is no other limit.
	MessageBytes int

	// spaces are the namespaces that the pattern of a topic reaches. They are
	// those of the namespaces that patterns have in place of the real ones.
	spaces []*patternSpace
	// life: the lifecycle tells of its channels.
	life    bool
	metrics *observe.Namespace
	latency *observe.Histogram
}

// Limits are what one node and one session may use. Zero takes the default.
type Limits struct {
	// Connections at once, 100,000.
	Connections int
	// ChannelsPerConnection, 128.
	ChannelsPerConnection int
	// MessageBytes is the largest command or publication, 64 KiB.
	MessageBytes int
	// QueueBytes is how much may wait behind a write that a session does not
	// take, 64 KiB; a session over it is slow.
	QueueBytes int
	// AlarmBytes is how much of lane alarm may wait beside, 64 KiB.
	AlarmBytes int
	// CommandsPerSecond of one session, 1,000, and CommandBurst, twice that.
	CommandsPerSecond int
	CommandBurst      int
	// HistoryRead is how many publications one history call may ask for, 1,000.
	HistoryRead int
	// PerUser is what one user may use.
	PerUser UserLimits
	// FilterNodes is how many nodes the filter of a client may have, 64.
	FilterNodes int
	// FilterBytes is how long the filters of a client may be together, 128 KiB.
	FilterBytes int
	// StateBytes is how much the entries of the state channels with subscribers
	// may take on this node, 1 GiB. What is beyond cannot be subscribed to.
	StateBytes int64
	// PatternsPerConnection, 32, and Patterns, 100,000 different ones on this
	// node.
	PatternsPerConnection int
	Patterns              int
	// RemoteMembers is how many members of other nodes are kept, 1,000,000.
	// Where there are more, presence answers with an error.
	RemoteMembers int
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Connections, 100_000)
	def(&l.ChannelsPerConnection, 128)
	def(&l.MessageBytes, 64<<10)
	def(&l.QueueBytes, 64<<10)
	def(&l.AlarmBytes, 64<<10)
	def(&l.CommandsPerSecond, 1000)
	def(&l.CommandBurst, 2*l.CommandsPerSecond)
	def(&l.HistoryRead, 1000)
	def(&l.FilterNodes, 64)
	def(&l.FilterBytes, 128<<10)
	def(&l.RemoteMembers, 1_000_000)
	if l.StateBytes <= 0 {
		l.StateBytes = 1 << 30
	}
	def(&l.PatternsPerConnection, 32)
	def(&l.Patterns, 100_000)
	return l
}

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.withDefaults()
	if o.Bus != nil {
		o.Node = o.Bus.Self().ID
	}
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.PingInterval, 25*time.Second)
	def(&o.PongTimeout, 10*time.Second)
	def(&o.StaleAfter, 15*time.Second)
	def(&o.ExpiredDelay, 25*time.Second)
	if o.Shards <= 0 {
		o.Shards = runtime.GOMAXPROCS(0)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	spaces := make(map[string]*Namespace, len(o.Namespaces))
	for name, ns := range o.Namespaces {
		c := *ns // the caller may go on with his own
		def(&c.PositionCheck, positionCheck)
		if c.JoinLeaveRate <= 0 {
			c.JoinLeaveRate = joinLeaveRate
		}
		def(&c.Lease, 30*time.Second)
		c.Delta = c.Delta && !c.isState() // patches are made to the last publication, not to a key's
		if c.isState() && !c.Policy.Recoverable() {
			// Without a history a hole in the feed would not be noticed, and
			// everybody's entries would be wrong.
			p := *c.Policy
			p.HistorySize = maxRing
			c.Policy = &p
		}
		c.metrics = o.Metrics.Namespace(name)
		c.latency = o.Metrics.PublishSeconds(name)
		if c.AskSubscribe {
			c.Rules.Subscribe = auth.NewWhoSet(auth.WhoToken) // who brings one is not asked about
		}
		if c.AskPublish {
			c.Rules.Publish = 0
		}
		spaces[name] = &c
	}
	o.Namespaces = spaces
	return o
}
