package server

import (
	"time"

	"myelin/config"
	"myelin/hub"
	"myelin/internal/rate"
)

// ratesOf returns the rates of a namespace.
func ratesOf(r config.Rate) hub.Rates {
	per := time.Duration(r.Per)
	return hub.Rates{
		Channel: rate.Limit{N: int64(r.Publish), Per: per, Burst: int64(r.Burst)},
		User:    rate.Limit{N: int64(r.UserPublish), Per: per, Burst: int64(r.UserBurst)},
	}
}

// perUser returns what one user may use.
func perUser(l config.PerUser) hub.UserLimits {
	return hub.UserLimits{
		Connections: l.Connections,
		Publish:     rate.Limit{N: int64(l.Publish), Burst: int64(l.PublishBurst)},
		Bytes:       rate.PerSecond(int64(l.BytesPerSecond)),
	}
}
