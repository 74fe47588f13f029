package observe

// The limits of filters.
const (
	// LimitFilter counts filters that were larger than one may be.
	LimitFilter = "filter"
	// LimitSieved counts calls of history that read as much as they may and
	// found nothing that the filter of a token lets through.
	LimitSieved = "sieved"

	filterLimitNames = LimitFilter + ", " + LimitSieved
)
