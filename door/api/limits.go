package api

import (
	"time"

	"myelin/protocol"
)

// Bounds of the API.
const (
	// MaxBroadcastChannels is how many channels one broadcast may name.
	MaxBroadcastChannels = 10_000
	// MaxBatchCommands is how many commands one batch may hold.
	MaxBatchCommands = 10_000
	// MaxListedChannels is how many channels an answer of channels may list.
	MaxListedChannels = 10_000
	// MaxWhitelist is how many clients one disconnect may spare.
	MaxWhitelist = 1_000
	// MaxAnswerBytes is about how much the answers to one request may hold,
	// beside one publication of any allowed size.
	MaxAnswerBytes = 32 << 20
	// MaxInFlight is how many requests are handled at a time; more wait.
	MaxInFlight = 256
	// MaxDepth is how deep the JSON of a request may be nested.
	MaxDepth = protocol.MaxDepth

	// maxReason is how long a disconnect reason may be: a WebSocket close
	// frame holds 125 bytes, two of them the code (RFC 6455 section 5.5).
	maxReason = 123
	// Codes that a disconnect may have. Below 3000 they are the protocol's of
	// the transport (RFC 6455 section 7.4.2).
	minDisconnectCode, maxDisconnectCode = 3000, 4999
	// maxUnixSeconds is the end of the year 9999. Beyond it is a time in
	// milliseconds.
	maxUnixSeconds = 253_402_300_799

	// workers is how many publishes of a broadcast, or commands of a parallel
	// batch, are under way at once.
	workers = 16

	bodyBytes = 1 << 20

	// bodyTimeout is how long a body may take to arrive, slotTimeout how long
	// a request waits for one of MaxInFlight places, workTimeout how long it
	// may then be at work, answerTimeout how long its answer may take to leave;
	// the server reads what is left of an unread body before it.
	bodyTimeout   = 20 * time.Second
	slotTimeout   = 5 * time.Second
	workTimeout   = 30 * time.Second
	answerTimeout = 2 * bodyTimeout
)

// BodyBytes returns how large the body of a request may be where a publication
// may have messageBytes (limits.message): twice that, for what JSON and base64
// add, and 1 MiB for all that goes around it.
func BodyBytes(messageBytes int) int { return bodyBytes + 2*messageBytes }
