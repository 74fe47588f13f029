package gauge

import "time"

// Budget is budget.
func Budget(rate uint64, shortest, trip time.Duration) int { return budget(rate, shortest, trip) }
