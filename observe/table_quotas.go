package observe

// The limits on users, tokens and channels.
//
//nolint:gosec // a name, not a token
const (
	LimitUserConnections = "user_connections"
	LimitUserRate        = "user_rate"
	LimitUserBytes       = "user_bytes"
	LimitTokenRate       = "token_rate"
	LimitTokenBytes      = "token_bytes"
	LimitChannelRate     = "channel_rate"
	// LimitMeters counts users, tokens and channels whose use was forgotten
	// because too many are busy, LimitRatesOutbox words to other nodes of what
	// was used that were lost.
	LimitMeters = "meters"
	// LimitBanned counts who was refused or sent away because of a ban.
	LimitBanned      = "banned"
	LimitRatesOutbox = "rates_outbox"

	quotaLimitNames = LimitUserConnections + ", " + LimitUserRate + ", " + LimitUserBytes + ", " +
		LimitTokenRate + ", " + LimitTokenBytes + ", " + LimitChannelRate + ", " + LimitMeters + ", " + LimitBanned + ", " + LimitRatesOutbox
)
