package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
	"myelin/hub"
)

// presence lists who is in a channel.
func (c *call) presence(_ context.Context, r *presenceRequest) (any, error) {
	members, err := c.door.opts.Hub.Presence(r.Channel)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, m := range members {
		size += sizeOf(m)
	}
	if err := c.take(size); err != nil {
		return nil, err
	}
	out := make(map[string]*clientInfo, len(members))
	for _, m := range members {
		out[m.Client] = infoOf(m)
	}
	return &presenceResult{Presence: out}, nil
}

// presenceStats counts who is in a channel.
func (c *call) presenceStats(_ context.Context, r *presenceStatsRequest) (any, error) {
	s, err := c.door.opts.Hub.PresenceStats(r.Channel)
	if err != nil {
		return nil, err
	}
	return &presenceStatsResult{NumClients: s.Clients, NumUsers: s.Users}, nil
}

// history reads what is kept of a channel.
func (c *call) history(ctx context.Context, r *historyRequest) (any, error) {
	h := c.door.opts.Hub
	if most := h.Limits().HistoryRead; int(r.Limit) > most {
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf(
			"limit is %d, one answer holds at most %d publications (limits.history_read); go on from the last one with since", r.Limit, most))
	}
	// Where that cuts the answer it holds more than call.take admits.
	req := hub.HistoryRequest{
		Channel: r.Channel, Limit: int(r.Limit), Reverse: r.Reverse,
		MaxBytes: MaxAnswerBytes + 2*h.Limits().MessageBytes,
	}
	if r.Since != nil {
		req.Since = &channel.Position{Epoch: r.Since.Epoch, Offset: r.Since.Offset}
	}
	read, err := h.History(ctx, req)
	if err != nil {
		return nil, err
	}
	if r.Since != nil && r.Since.Offset > 0 && !r.Reverse && !read.Complete {
		return nil, channel.ErrUnrecoverable.With(fmt.Sprintf(
			"what came after offset %d is not all kept, the channel is at %d; leave since out to read what there is", r.Since.Offset, read.Top.Offset))
	}
	size := 0
	for _, p := range read.Pubs {
		size += sizeOfPublication(p)
	}
	if err := c.take(size); err != nil {
		return nil, err
	}
	out := &historyResult{Publications: make([]publication, len(read.Pubs)), Epoch: read.Top.Epoch, Offset: read.Top.Offset}
	for i, p := range read.Pubs {
		out.Publications[i] = publication{Data: payload(p), Info: infoOf(p.Info), Offset: p.Offset, Tags: p.Tags}
	}
	return out, nil
}

func sizeOfPublication(p *channel.Publication) int {
	n := len(p.Data) + perItem + sizeOf(p.Info)
	for k, v := range p.Tags {
		n += len(k) + len(v)
	}
	return n
}

// historyRemove forgets what is kept of a channel. Its position goes on.
func (c *call) historyRemove(ctx context.Context, r *historyRemoveRequest) (any, error) {
	if err := c.door.opts.Hub.HistoryRemove(ctx, r.Channel); err != nil {
		return nil, err
	}
	return &empty{}, nil
}

// globs are signs of the patterns of Centrifugo that mean nothing in ours.
const globs = "?[]{}!\\"

// channels lists the channels that have subscribers.
func (c *call) channels(ctx context.Context, r *channelsRequest) (any, error) {
	if i := strings.IndexAny(r.Pattern, globs); i >= 0 {
		return nil, unsupported("pattern", fmt.Sprintf(
			"%q has no meaning here; * stands for any run of characters but ':', ** for any run", r.Pattern[i:i+1]))
	}
	if n := len(r.Pattern); n > auth.MaxPatternBytes {
		return nil, channel.ErrBadRequest.With(fmt.Sprintf("pattern has %d bytes, at most %d are allowed", n, auth.MaxPatternBytes))
	}
	found, err := c.door.opts.Hub.Channels(ctx, r.Pattern, MaxListedChannels+1)
	if err != nil {
		return nil, err
	}
	if len(found) > MaxListedChannels {
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("more than %d channels, give a narrower pattern", MaxListedChannels))
	}
	size := 0
	for name := range found {
		size += len(name) + perItem
	}
	if err := c.take(size); err != nil {
		return nil, err
	}
	out := make(map[string]channelInfo, len(found))
	for name, n := range found {
		out[name] = channelInfo{NumClients: n}
	}
	return &channelsResult{Channels: out}, nil
}

// info tells of the nodes, of this one first. One that does not answer is shown
// with what it said last.
func (c *call) info(ctx context.Context, _ *infoRequest) (any, error) {
	out := new(infoResult)
	for _, i := range c.door.opts.Hub.Info(ctx) {
		if i.Version == "" {
			i.Version = c.door.opts.Version // a node alone
		}
		out.Nodes = append(out.Nodes, nodeResult{
			UID: i.Node, Name: i.Node, Version: i.Version,
			NumClients: i.Clients, NumUsers: i.Users, NumSubs: i.Subscriptions, NumChannels: i.Channels,
			Uptime: int64(i.Uptime / time.Second), Addr: i.Addr, Silent: i.Silent,
		})
	}
	return out, nil
}
