// Package config is the configuration tree and its strict loader.
//
// A Config is one immutable answer to "how shall this server run". It is built
// from defaults, then one YAML file, then environment variables, then --set
// overrides; each layer wins over the one before it.
//
// Its nouns: a key is one setting, a path is a key's full name with dots
// (limits.message), a layer is one place that settings come from, an origin is
// the exact spot in a layer, a Problem is one thing wrong with its origin.
//
// Promises. Every key has a default and a line in docs/config.md, which is
// generated from the struct tags here. Nothing wrong is ignored: unknown keys,
// wrong types, duplicate keys, values out of range and settings that contradict
// each other are all reported at once, each with its origin and, where one is
// close, the spelling that was probably meant. Secrets never appear in a
// message and print as a placeholder. Input is bounded: 1 MiB of file, 32
// levels, 1000 namespaces, 256 items in a list, 100 problems in a report.
//
// Nothing here touches the network or opens the files that keys name; reading
// the configuration file is the only input. The functions share no state and
// may be called concurrently; a Config is only as safe as any plain struct.
package config

// DefaultNamespace names the namespace of channels without a colon. It always
// exists.
const DefaultNamespace = "default"

// Config is the whole configuration. The struct tags are the schema: yaml is
// the key, default its default, doc its meaning; enum lists the allowed words
// and later those that the design knows but this build does not; min, max and
// zero (the meaning of 0 or "") bound the value; form names a syntax check.
type Config struct {
	Listen string `yaml:"listen" default:"127.0.0.1:8000" form:"address" doc:"Address of the main listener: WebSocket, HTTP streaming, SSE, the HTTP API and the console. Port 0 takes a free one."`

	Node  string `yaml:"node" default:"" form:"node" zero:"chosen at the start" doc:"Name of this node, which it keeps over restarts: 1 to 64 letters, digits, -, _ and . within, no other node's. Empty: the host name with the jetstream engine, and a new one with every start otherwise."`
	Admin Admin  `yaml:"admin" doc:"The operator's listener: metrics, health and profiles."`
	TLS   TLS    `yaml:"tls" doc:"TLS on the main listener. Off while both files are empty."`
	Auth  Auth   `yaml:"auth" doc:"Who may connect."`
	// TrustedProxies are believed where clients come from.
	TrustedProxies []string `yaml:"trusted_proxies" default:"" form:"addresses" doc:"Addresses and ranges (CIDR) of the proxies in front of this server, whose X-Forwarded-For says where a client is. It matters for auth.block and the API's block. Empty: a client is where its connection comes from."`

	API        API                  `yaml:"api" doc:"The HTTP API. Off while there is no key."`
	Engine     Engine               `yaml:"engine" doc:"What keeps the channels."`
	Cluster    Cluster              `yaml:"cluster" doc:"The nodes that serve the same channels. Off while peers is empty. See [operating a cluster](cluster.md)."`
	Namespaces map[string]Namespace `yaml:"namespaces" doc:"Policies, one for each set of channels. Channel chat:lobby is in namespace chat; a channel without a colon is in namespace default, which always exists. A channel of an unknown namespace is refused. A name is 1 to 64 letters, digits, - and _, and begins with a letter or digit."`
	Pusher     Pusher               `yaml:"pusher" doc:"The door for clients and servers of the Pusher protocol. Off while there is no key. See [Pusher](pusher.md)."`
	Mercure    Mercure              `yaml:"mercure" doc:"The door for publishers and subscribers of the Mercure protocol. See [Mercure](mercure.md)."`
	Consumers  Consumers            `yaml:"consumers" doc:"How many acknowledged consumers there may be. See [consumers](consumers.md)."`
	Client     Client               `yaml:"client" doc:"The life of one client connection."`
	Limits     Limits               `yaml:"limits" doc:"What one server and one client may use. Every limit is enforced; none can be switched off."`
	Drain      Drain                `yaml:"drain" doc:"How the server stops without a stampede of reconnects."`
	Lifecycle  Lifecycle            `yaml:"lifecycle" doc:"Who comes and goes, and where, as the ordered channel $lifecycle:events. Off while events is empty. See [lifecycle](lifecycle.md)."`
	Hooks      Hooks                `yaml:"hooks" doc:"The application that is asked what only it knows, by HTTP. See [hooks](hooks.md)."`
	Webhooks   map[string]Webhook   `yaml:"webhooks" doc:"Who is told of the lifecycle by HTTP, by name. The name is kept with how far it has been told: under another one it is told from the beginning of what is kept. See [hooks](hooks.md)."`
	Log        Log                  `yaml:"log" doc:"The server's own log, on standard error."`

	// DevMode says that Dev prepared this configuration. It is set by --dev
	// and never by a file.
	DevMode bool `yaml:"-"`
}

// Admin is the operator's listener.
type Admin struct {
	Listen string `yaml:"listen" default:"127.0.0.1:8001" form:"address" zero:"off" doc:"Address for /metrics, /health and profiles. Not meant for the public: it asks for no key."`
}

// TLS names the certificate of the main listener.
type TLS struct {
	CertFile string `yaml:"cert_file" default:"" doc:"Certificate chain, PEM."`
	KeyFile  string `yaml:"key_file" default:"" doc:"Private key, PEM."`
}

// Auth says who may connect.
type Auth struct {
	Tokens         Tokens   `yaml:"tokens" doc:"How connection and subscription tokens (JWT) are checked. Several keys may be set; a token needs to satisfy one."`
	Anonymous      bool     `yaml:"anonymous" default:"false" doc:"Whether a client without a token may connect. A client with a bad token is refused either way."`
	Block          Block    `yaml:"block" doc:"Who is kept out. The HTTP API's block and revoke keep out others while the server runs, on all nodes. See [limits](limits.md)."`
	AllowedOrigins []string `yaml:"allowed_origins" default:"" form:"origin" doc:"Origins of web pages that may connect, such as https://example.com or https://*.example.com; * allows every page. Empty: pages of the server's own host. Otherwise the list is the whole truth, the own host included. Clients that send no Origin are not browsers and are not concerned."`
}

// Tokens says how connection and subscription tokens are checked.
type Tokens struct {
	HMACSecret    Secret `yaml:"hmac_secret" default:"" form:"secret" doc:"Key for HS256, HS384 and HS512. Use at least 32 random bytes."`
	PublicKeyFile string `yaml:"public_key_file" default:"" doc:"Public key for RSA, ECDSA or Ed25519 tokens, PEM."`
	JWKSURL       string `yaml:"jwks_url" default:"" form:"url" doc:"Where the issuer publishes its key set. Refreshed in the background."`
	Audience      string `yaml:"audience" default:"" doc:"The aud claim a token must hold. Empty: not checked."`
	Issuer        string `yaml:"issuer" default:"" doc:"The iss claim a token must hold. Empty: not checked."`
	UserIDClaim   string `yaml:"user_id_claim" default:"sub" form:"filled" doc:"The claim that holds the user's id."`
}

// API is the server-to-server HTTP API.
type API struct {
	Key      Secret `yaml:"key" default:"" form:"secret" doc:"What callers send as X-API-Key."`
	Insecure bool   `yaml:"insecure" default:"false" doc:"Answer without a key. On a loopback listener only."`
}

// Namespace is the policy of a set of channels.
type Namespace struct {
	Kind       string  `yaml:"kind" default:"log" enum:"log|state" later:"doc" doc:"log is an ordered sequence of publications. state is a set of entries by key, with the changes to them: who subscribes gets the entries, then the changes. See [state](state.md)."`
	State      State   `yaml:"state" doc:"The entries of channels of kind state."`
	History    History `yaml:"history" doc:"The publications that are kept for history calls and recovery."`
	Durability string  `yaml:"durability" default:"auto" enum:"auto|memory|async|sync" doc:"What an acknowledged publication survives. memory: nothing, a restart begins a new epoch and clients are told. async: a restart, and a crash but for the last moments (disk.flush_interval, or the interval of NATS), which clients are told. sync: kill -9 and power loss, in a cluster those of a minority of nodes. auto: with history sync on the disk engine and on jetstream, async on NATS servers elsewhere that are not synced, and memory otherwise."`
	Recover    Switch  `yaml:"recover" default:"auto" enum:"auto|true|false" doc:"Whether every subscription is recoverable, so that a returning client gets what it missed. auto: yes when there is history. false: only those that ask."`
	Presence   bool    `yaml:"presence" default:"false" doc:"Keep the list of who is subscribed."`
	JoinLeave  bool    `yaml:"join_leave" default:"false" doc:"Tell subscribers who comes and goes."`

	JoinLeaveBy   string `yaml:"join_leave_by" default:"connection" enum:"connection|user" doc:"connection: every connection that comes and goes. user: the first connection of a user that comes, and the last one that goes, on all nodes."`
	JoinLeaveRate int    `yaml:"join_leave_rate" default:"1000" min:"1" max:"1000000" doc:"Joins and leaves of one channel that its subscribers are told per second. What is beyond waits and is told in batches; who came and went in the meantime is not told of."`

	Subscribe    []string `yaml:"subscribe" default:"user" enum:"anonymous|user|token|nobody" doc:"Who may subscribe."`
	Publish      []string `yaml:"publish" default:"nobody" enum:"anonymous|user|subscriber|token|nobody" doc:"Which clients may publish. The HTTP API always may."`
	Patterns     []string `yaml:"subscribe_patterns" default:"nobody" enum:"anonymous|user|token|nobody" doc:"Which clients may subscribe to patterns such as chat:*.news or chat:**. Of the channels that match they get those that subscribe lets them have. nobody: there are no patterns, and * is a character like others."`
	ReadPresence []string `yaml:"read_presence" default:"subscriber" enum:"anonymous|user|subscriber|token|nobody" doc:"Which clients may ask who is subscribed, when presence is kept."`
	ReadHistory  []string `yaml:"read_history" default:"subscriber" enum:"anonymous|user|subscriber|token|nobody" doc:"Which clients may call history, when it is kept."`

	Delta      bool   `yaml:"delta" default:"false" doc:"Let clients that ask for it have the data of a publication as a patch to that of the one before (Fossil). See [filters](filters.md)."`
	NumericIDs Switch `yaml:"numeric_ids" default:"auto" enum:"auto|true|false" doc:"Whether clients that ask for it know a channel by a number in place of its name, in what they are sent. auto: JSON clients do. true: Protobuf clients too, but not with npm centrifuge 5.8.0 in Node, whose Protobuf client does not know the numbers again."`
	Batch      Batch  `yaml:"batch" doc:"Fewer, larger writes."`

	Lane   string   `yaml:"lane" default:"ordinary" enum:"alarm|ordinary|bulk" doc:"How urgent its publications are against others on the same connection. alarm: they go first, wait in limits.alarm_queue of their own, and are never dropped. bulk: they go last, and a slow connection is handed only as much at a time as leaves soon. See [delivery](delivery.md)."`
	Slow   string   `yaml:"slow" default:"disconnect" enum:"disconnect|conflate|drop_oldest|resync" doc:"What becomes of its publications that wait for a client whose limits.queue is full. disconnect: the client is sent away and comes back with its position. conflate: it gets the newest of each key, or of the channel. drop_oldest: the oldest are left out. resync: it is unsubscribed, and subscribes again with its position. It is told in each case."`
	Expiry Duration `yaml:"expiry" default:"0" min:"1ms" max:"8760h" zero:"never" doc:"How long a publication is of use where its sender does not say (expires_in_ms); after that it is handed to nobody."`

	PositionCheck Duration           `yaml:"position_check" default:"30s" min:"1s" max:"1h" zero:"never" doc:"How often a recoverable subscription is compared with the channel's true position, so that a client that fell behind unnoticed is told to catch up."`
	Message       Size               `yaml:"message" default:"0" min:"1" max:"64MiB" zero:"as limits.message" doc:"The largest publication, where that is less than limits.message."`
	Rate          Rate               `yaml:"rate" doc:"How much may be published. Beyond it a publish is refused with error 111, which says when to try again."`
	Consumers     NamespaceConsumers `yaml:"consumers" doc:"Acknowledged consumers of the channels, which need history. See [consumers](consumers.md)."`

	DedupeWindow Duration `yaml:"dedupe_window" default:"5m" min:"1s" max:"24h" doc:"How long a message id is remembered: the same id within it gives one publication and the same position."`
	Hooks        []string `yaml:"hooks" default:"" enum:"subscribe|publish" zero:"none" doc:"What the application decides for each client, asked by hooks.subscribe and hooks.publish, instead of the lists subscribe and publish."`
}

// History bounds what a channel keeps.
type History struct {
	Size    int      `yaml:"size" default:"0" min:"1" max:"100000" zero:"no history" doc:"Publications kept for each channel."`
	TTL     Duration `yaml:"ttl" default:"5m" min:"1s" max:"8760h" doc:"How long a publication is kept."`
	MetaTTL Duration `yaml:"meta_ttl" default:"720h" min:"1s" max:"8760h" doc:"How long the position of an idle channel is remembered. A client that returns later is told that recovery failed. Not shorter than ttl."`
}

// Client is the life of one client connection.
type Client struct {
	PingInterval      Duration `yaml:"ping_interval" default:"25s" min:"1s" max:"10m" doc:"How often the server pings. Whole seconds, because clients are told in seconds."`
	PongTimeout       Duration `yaml:"pong_timeout" default:"10s" min:"1s" max:"5m" doc:"How long a client may take to answer a ping. Shorter than ping_interval."`
	StaleAfter        Duration `yaml:"stale_after" default:"15s" min:"1s" max:"5m" doc:"How long a new connection may take to send its connect command."`
	ExpiredCloseDelay Duration `yaml:"expired_close_delay" default:"25s" min:"1s" max:"1h" doc:"How long after its token expired a client may still refresh it."`
}

// Limits bound what one server and one client may use.
type Limits struct {
	Connections           int  `yaml:"connections" default:"100000" min:"1" max:"10000000" doc:"Connections on this server, all doors together."`
	ChannelsPerConnection int  `yaml:"channels_per_connection" default:"128" min:"1" max:"100000" doc:"Subscriptions of one connection."`
	Message               Size `yaml:"message" default:"64KiB" min:"1KiB" max:"64MiB" doc:"One command from a client, and one publication."`
	Queue                 Size `yaml:"queue" default:"64KiB" min:"1KiB" max:"1GiB" doc:"Bytes that may wait for one slow connection before it is closed with a code that lets it resume."`
	AlarmQueue            Size `yaml:"alarm_queue" default:"64KiB" min:"1KiB" max:"1GiB" doc:"Bytes of lane alarm that may wait for one slow connection beside limits.queue, before it is closed in the same way."`
	CommandsPerSecond     int  `yaml:"commands_per_second" default:"1000" min:"1" max:"1000000" doc:"Commands of one connection, as a lasting rate."`
	CommandBurst          int  `yaml:"command_burst" default:"2000" min:"1" max:"1000000" doc:"Commands of one connection at once."`
	FilterNodes           int  `yaml:"filter_nodes" default:"64" min:"1" max:"128" doc:"Comparisons and operators in the tag filter of a subscription."`
	FilterBytes           Size `yaml:"filter_bytes" default:"128KiB" min:"16KiB" max:"64MiB" doc:"Text of all tag filters that one connection has. One that several subscriptions have counts once. In memory they take some four times that."`
	HistoryRead           int  `yaml:"history_read" default:"1000" min:"1" max:"100000" doc:"Publications in one history answer, and entries in one page of a state channel."`
	State                 Size `yaml:"state" default:"1GiB" min:"1MiB" max:"1024GiB" doc:"What the entries of all state channels with subscribers may take in the memory of this server. Beyond it a subscription to another one is refused with error 106."`
	PatternsPerConnection int  `yaml:"patterns_per_connection" default:"32" min:"1" max:"10000" doc:"Subscriptions of one connection that are patterns."`
	Patterns              int  `yaml:"patterns" default:"100000" min:"1" max:"10000000" doc:"Different patterns that clients of this server are subscribed to."`

	PerUser PerUser `yaml:"per_user" doc:"What one user may use, whatever its connections. Clients without a user id are not concerned. See [limits](limits.md)."`
}

// Drain says how the server stops.
type Drain struct {
	Grace   Duration `yaml:"grace" default:"5s" min:"100ms" max:"10m" zero:"none" doc:"How long the server still serves after it said that it is not ready, so that load balancers notice."`
	Rate    int      `yaml:"rate" default:"5000" min:"1" max:"1000000" doc:"The most clients that come back to the other nodes within one second. Connections are closed a little more slowly, because the clients' own random delays bunch: at 4632 per second for 5000, 410 for 500. See [drain](drain.md)."`
	Timeout Duration `yaml:"timeout" default:"25s" min:"100ms" max:"1h" doc:"The whole drain, grace included. What is left then is closed at once."`
}

// Log is the server's own log.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug|info|warn|error" doc:"The least that is written."`
	Format string `yaml:"format" default:"auto" enum:"auto|text|json" doc:"auto: text on a terminal, otherwise json."`
}

// Default returns the configuration of an empty file. It refuses to start, see
// Validate: nothing in it lets a client in.
func Default() *Config {
	c := new(Config)
	fill(c)
	c.Namespaces = map[string]Namespace{DefaultNamespace: defaultNamespace()}
	c.Webhooks = map[string]Webhook{}
	return c
}

// Dev turns the configuration into one to try things out with: anonymous
// clients may do everything, the API needs no key, every namespace has a small
// history and presence, state:... are channels of kind state, only pages from loopback addresses may connect, and
// stopping does not wait. Validate then insists on loopback listeners.
func (c *Config) Dev() {
	c.DevMode = true
	c.Auth.Anonymous = true
	// A page elsewhere could reach a loopback server by rebinding its own
	// name, so the own host is not trusted by name.
	c.Auth.AllowedOrigins = []string{"http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*", "https://localhost:*"}
	c.API.Insecure = true
	c.Drain.Grace = 0
	if _, ok := c.Namespaces[devState]; !ok {
		ns := defaultNamespace()
		ns.Kind = "state"
		c.Namespaces[devState] = ns
	}
	for name, ns := range c.Namespaces {
		c.Namespaces[name] = ns.dev()
	}
}

// Recovers says whether every subscription is recoverable.
func (n Namespace) Recovers() bool {
	return n.Recover == On || n.Recover == Auto && n.Keeps() > 0
}

func (n Namespace) dev() Namespace {
	n.History.Size = 100
	n.Presence = true
	n.JoinLeave = true
	n.Subscribe = []string{"anonymous"}
	n.Publish = []string{"anonymous"}
	n.ReadPresence = []string{"anonymous"}
	n.Patterns = []string{"anonymous"}
	n.ReadHistory = []string{"anonymous"}
	if n.Kind == "log" {
		n.Delta = true
		n.Consumers.Clients = "any"
	}
	n.State.Keys = "any"
	return n
}

func defaultNamespace() Namespace {
	var n Namespace
	fill(&n)
	return n
}
