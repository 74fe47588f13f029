package hub

import "strconv"

// Disconnect is why a session ends. Codes from 3000 to 3499 and 4000 to 4499
// ask the client to reconnect, 3500 to 3999 and 4500 to 4999 tell it not to.
// They are those of the public client protocol.
type Disconnect struct {
	Code   uint32
	Reason string
}

// Error makes a Disconnect an error, for functions that end a session.
func (d Disconnect) Error() string {
	return "disconnect " + strconv.FormatUint(uint64(d.Code), 10) + ": " + d.Reason
}

// Unsubscribe is why a subscription ends. Codes from 2500 ask the client to
// subscribe again.
type Unsubscribe struct {
	Code   uint32
	Reason string
}

// forServerSide is what becomes of the connection where the subscription is
// the server's, so that the client cannot subscribe again by itself.
func (u Unsubscribe) forServerSide() Disconnect {
	if u == UnsubscribeSlow {
		return DisconnectSlow
	}
	return DisconnectInsufficientState
}

// The reasons for disconnecting.
var (
	DisconnectConnectionClosed  = Disconnect{3000, "connection closed"}
	DisconnectShutdown          = Disconnect{3001, "shutdown"}
	DisconnectServerError       = Disconnect{3004, "internal server error"}
	DisconnectExpired           = Disconnect{3005, "connection expired"}
	DisconnectSubExpired        = Disconnect{3006, "subscription expired"}
	DisconnectSlow              = Disconnect{3008, "slow"}
	DisconnectWriteError        = Disconnect{3009, "write error"}
	DisconnectInsufficientState = Disconnect{3010, "insufficient state"}
	DisconnectForceReconnect    = Disconnect{3011, "force reconnect"}
	DisconnectNoPong            = Disconnect{3012, "no pong"}
	DisconnectTooManyRequests   = Disconnect{3013, "too many requests"}
	DisconnectInvalidToken      = Disconnect{3500, "invalid token"}
	DisconnectBadRequest        = Disconnect{3501, "bad request"}
	DisconnectStale             = Disconnect{3502, "stale"}
	DisconnectForceNoReconnect  = Disconnect{3503, "force disconnect"}
	DisconnectConnectionLimit   = Disconnect{3504, "connection limit"}
	DisconnectChannelLimit      = Disconnect{3505, "channel limit"}
	DisconnectPermissionDenied  = Disconnect{3507, "permission denied"}
	DisconnectNotAvailable      = Disconnect{3508, "not available"}
)

// The reasons for unsubscribing.
var (
	UnsubscribeServer       = Unsubscribe{2000, "server unsubscribe"}
	UnsubscribeInsufficient = Unsubscribe{2500, "insufficient state"}
	UnsubscribeExpired      = Unsubscribe{2501, "subscription expired"}
	// UnsubscribeSlow is Myelin's own: the client was too slow for the channel,
	// whose rule is to subscribe again.
	UnsubscribeSlow = Unsubscribe{2550, "slow"}
)

// unsubscribeClosed is how the lifecycle tells of subscriptions that end with
// their connection; the client is not told.
var unsubscribeClosed = Unsubscribe{0, "connection closed"}

// Disconnects returns every reason for disconnecting, for the documentation.
func Disconnects() []Disconnect {
	return []Disconnect{
		DisconnectConnectionClosed, DisconnectShutdown, DisconnectServerError, DisconnectExpired,
		DisconnectSubExpired, DisconnectSlow, DisconnectWriteError, DisconnectInsufficientState,
		DisconnectForceReconnect, DisconnectNoPong, DisconnectTooManyRequests, DisconnectInvalidToken,
		DisconnectBadRequest, DisconnectStale, DisconnectForceNoReconnect, DisconnectConnectionLimit,
		DisconnectChannelLimit, DisconnectPermissionDenied, DisconnectNotAvailable,
	}
}

// Unsubscribes returns every reason for unsubscribing, for the documentation.
func Unsubscribes() []Unsubscribe {
	return []Unsubscribe{UnsubscribeServer, UnsubscribeInsufficient, UnsubscribeExpired, UnsubscribeSlow}
}
