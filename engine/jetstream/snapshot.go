package jetstream

import (
	"context"

	"myelin/channel"
)

// Snapshot returns a page of the entries of a state channel.
func (e *Engine) Snapshot(ctx context.Context, r *channel.SnapshotRequest) (channel.StatePage, error) {
	if err := e.enter(ctx, r.Channel, r.Policy); err != nil {
		return channel.StatePage{}, err
	}
	defer e.calls.end()
	return channel.StatePage{}, channel.ErrBadRequest.With("a log channel has no entries; read its history")
}
