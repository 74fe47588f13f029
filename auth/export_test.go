package auth

import (
	"maps"
	"slices"
)

// Notes returns how many key ids are being looked for and are known absent.
func (v *Verifier) Notes() (pending, absent int) {
	v.remote.mu.Lock()
	defer v.remote.mu.Unlock()
	return len(v.remote.mu.pending), len(v.remote.mu.absent)
}

// Settle answers all key ids being looked for as a fetch of the same set would.
func (v *Verifier) Settle() {
	v.remote.mu.Lock()
	asked := slices.Collect(maps.Keys(v.remote.mu.pending))
	v.remote.mu.Unlock()
	v.remote.settle(asked, v.remote.set.Load())
}

// ParseKeySet reads a key set and returns how many keys it holds, and why
// others were left out.
func ParseKeySet(body []byte) (keys int, skipped []error, err error) {
	set, skipped, err := parseKeySet(body)
	if err != nil {
		return 0, skipped, err
	}
	return len(set.keys), skipped, nil
}
