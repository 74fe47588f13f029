package pusher

import "time"

// Bounds of the protocol.
const (
	// maxName is how many bytes the names of a channel and of an event have.
	maxName = 200
	// maxTrigger is how many channels one event goes to, maxBatch how many
	// events one request brings.
	maxTrigger = 100
	maxBatch   = 10
	// maxMembers is how many members of a channel a connection remembers, where
	// more come by other doors than pusher.presence_members lets in here.
	maxMembers = 10_000
	// maxWatched is how many users a watchlist has.
	maxWatched = 100
	// maxListed is how many channels an answer lists.
	maxListed = 1000
	// maxSlack is what a message may hold beside its data.
	maxSlack = 16 << 10
	// signatureAge is how far the clock of a signed request may be off.
	signatureAge = 600 * time.Second
	// activityTimeout is after how many seconds of silence a client should ping.
	activityTimeout = 30
	// cacheScan is how many publications are looked through for the last event
	// of a cache channel; those of clients do not count.
	cacheScan = 16
	// apiTimeout is how long a request of the HTTP API may take.
	apiTimeout = 10 * time.Second
	// cachedFrames is how many encoded events are kept for the next connection
	// that gets them, and cachedBytes the largest.
	cachedFrames = 128
	cachedBytes  = 64 << 10
)

// The close codes, as the protocol has them: 4000 to 4099 say that the client
// shall stay away, 4100 to 4199 that it shall come back slowly, 4200 to 4299
// that it may come back at once. Codes of pusher:error go on from there.
const (
	codeNoApp          = 4001
	codeBadVersion     = 4006
	codeUnsupported    = 4007
	codeNoVersion      = 4008
	codeUnauthorized   = 4009
	codeOverCapacity   = 4100
	codeReconnect      = 4200
	codeNoPong         = 4201
	codeOther          = 4300
	codeClientRejected = 4301
)
