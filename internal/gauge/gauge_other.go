//go:build !linux

package gauge

// look leaves plenty: only Linux tells.
func (g *Gauge) look(uintptr) {}
