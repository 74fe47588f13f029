package observe

// The limits of the doors of other protocols.
const (
	// LimitClientEvents counts events of Pusher clients that were too many for
	// a second, LimitPresenceMembers members that a presence channel had no
	// room for.
	LimitClientEvents    = "client_events"
	LimitPresenceMembers = "presence_members"
	// LimitWatchlist counts watchlists of Pusher users that were too long.
	LimitWatchlist = "watchlist"
	// LimitTopics counts Mercure requests with more or longer topics than may be.
	LimitTopics = "topics"

	doorLimitNames = LimitClientEvents + ", " + LimitPresenceMembers + ", " + LimitWatchlist + ", " + LimitTopics
)
