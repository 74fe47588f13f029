package bench

// What the black-box tests look at.
var (
	ParseStat   = parseStat
	ParseStatus = parseStatus
	MedianOf    = median
	SpreadOf    = spread
)
