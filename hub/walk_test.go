package hub_test

import (
	"math/rand/v2"

	"pgregory.net/rapid"
)

// pick chooses one of n, from 0, wherever the choice comes from.
type pick func(what string, n int) int

// drawn is a pick that rapid makes, and makes simpler where a walk fails.
func drawn(rt *rapid.T) pick {
	return func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) }
}

// random is a pick by a seed, for walks that are too long to be made shorter.
func random(seed uint64) pick {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(_ string, n int) int { return r.IntN(n) }
}
