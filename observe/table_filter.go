package observe

// The limits of filters.
const (
	// LimitFilter counts filters that were larger than one may be.
	LimitFilter = "filter"
	// LimitFilterBytes counts subscriptions with which the filters of a client
	// would have been larger than they may be together.
	LimitFilterBytes = "filter_bytes"
	// LimitSieved counts calls of history that read as much as they may and
	// found nothing that the filter of a token lets through.
	LimitSieved = "sieved"

	filterLimitNames = LimitFilter + ", " + LimitFilterBytes + ", " + LimitSieved
)
