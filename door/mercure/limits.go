package mercure

import "time"

// Bounds of the protocol.
const (
	// maxMatchers is how many matchers a stream or a claim may have, maxTopics
	// how many topics an update.
	maxMatchers = 64
	maxTopics   = 16
	// maxPattern is how many bytes a URI template or URL pattern may have.
	maxPattern = 1024
	// maxField is how many bytes the other fields of an update may have.
	maxField = 255
	// maxDetails is how many authorization details a token may have.
	maxDetails = 32
	// maxTold is how many bytes may be told of a stream's subscriptions.
	maxTold = 8 << 10
	// scanned is how many publications are looked through, over all topics, for
	// an id that the publisher chose.
	scanned = 1000
	// maxReplay is how many bytes of updates a stream may begin with, and
	// maxReplayed how many updates of each topic, about.
	maxReplay   = 4 << 20
	maxReplayed = 10_000
	// remembered is how many updates with several topics a stream remembers.
	remembered = 64
	// pipeBytes is how much may wait for a stream's reader here; as much again
	// is being written.
	pipeBytes = 16 << 10
	// writeTimeout is how long one write may take.
	writeTimeout = 10 * time.Second
	// publishTimeout is how long a publish may take.
	publishTimeout = 10 * time.Second
	// retryMs is how long EventSource is asked to wait before it comes back, at
	// least; as much again is random.
	retryMs = 500
)
