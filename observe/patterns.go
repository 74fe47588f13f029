package observe

// Limits of patterns and of presence.
const (
	// LimitJoinLeave counts joins and leaves that were told later than at once,
	// or not at all, because so many came at a time.
	LimitJoinLeave = "join_leave"
	// LimitPatternShape counts patterns that were refused because they have
	// more segments or wildcards than one may.
	LimitPatternShape = "pattern_shape"
	// LimitPatternsPerConnection and LimitPatterns count those refused because a
	// connection, or the node, had as many as it may.
	LimitPatternsPerConnection = "patterns_per_connection"
	LimitPatterns              = "patterns"
	// LimitPatternFeed counts pattern subscriptions that were told to begin
	// anew, because what they were to get came faster than it could be handed on.
	LimitPatternFeed = "pattern_feed"

	patternLimitNames = LimitJoinLeave + ", " + LimitPatternShape + ", " + LimitPatternsPerConnection + ", " +
		LimitPatterns + ", " + LimitPatternFeed
)
