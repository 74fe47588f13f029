package api

import (
	"context"
	"strings"
	"time"

	"myelin/auth"
	"myelin/channel"
)

type revokeRequest struct {
	User         string `json:"user"`
	Token        string `json:"token"`
	IssuedBefore int64  `json:"issued_before"`
	ExpireAt     int64  `json:"expire_at"`
	Reason       string `json:"reason"`
}

type blockRequest struct {
	User     string `json:"user"`
	Address  string `json:"address"`
	ExpireAt int64  `json:"expire_at"`
	Reason   string `json:"reason"`
}

type unblockRequest struct {
	User    string `json:"user"`
	Token   string `json:"token"`
	Address string `json:"address"`
}

type blocksRequest struct{}

type blocksResult struct {
	Blocks []auth.Ban `json:"blocks"`
}

// oneGiven refuses requests that name none or several of the fields.
func oneGiven(names string, values ...string) error {
	n := 0
	for _, v := range values {
		if v != "" {
			n++
		}
	}
	if n != 1 {
		return channel.ErrBadRequest.With("name one of " + names)
	}
	return nil
}

func (r *revokeRequest) check() error {
	if r.IssuedBefore != 0 && r.User == "" {
		return channel.ErrBadRequest.With("issued_before goes with user")
	}
	return oneGiven("user, token", r.User, r.Token)
}

// revoke refuses the tokens of a user issued so far, or those of one id, and
// sends away who is here by them.
func (c *call) revoke(ctx context.Context, r *revokeRequest) (any, error) {
	ban := auth.Ban{Kind: auth.BanToken, Value: r.Token, ExpiresAt: r.ExpireAt, Reason: r.Reason}
	if r.User != "" {
		ban.Kind, ban.Value, ban.IssuedBefore = auth.BanUserTokens, r.User, r.IssuedBefore
		if ban.IssuedBefore == 0 {
			ban.IssuedBefore = time.Now().Unix()
		}
	}
	return c.keepOut(ctx, ban)
}

func (r *blockRequest) check() error { return oneGiven("user, address", r.User, r.Address) }

// block keeps out a user, or who comes from an address.
func (c *call) block(ctx context.Context, r *blockRequest) (any, error) {
	ban := auth.Ban{Kind: auth.BanUser, Value: r.User, ExpiresAt: r.ExpireAt, Reason: r.Reason}
	if r.Address != "" {
		ban.Kind, ban.Value = auth.BanAddress, r.Address
	}
	return c.keepOut(ctx, ban)
}

func (c *call) keepOut(ctx context.Context, ban auth.Ban) (any, error) {
	if strings.ContainsFunc(ban.Reason, func(r rune) bool { return r < ' ' }) {
		return nil, channel.ErrBadRequest.With("reason has a control character")
	}
	if err := checkSeconds(ban.ExpiresAt); err != nil {
		return nil, err
	}
	return &empty{}, c.door.opts.Hub.Ban(ctx, ban)
}

func (r *unblockRequest) check() error {
	return oneGiven("user, token, address", r.User, r.Token, r.Address)
}

// unblock takes back what block and revoke did.
func (c *call) unblock(ctx context.Context, r *unblockRequest) (any, error) {
	h := c.door.opts.Hub
	switch {
	case r.Token != "":
		return &empty{}, h.Unban(ctx, auth.BanToken, r.Token)
	case r.Address != "":
		return &empty{}, h.Unban(ctx, auth.BanAddress, r.Address)
	}
	if err := h.Unban(ctx, auth.BanUser, r.User); err != nil {
		return nil, err
	}
	return &empty{}, h.Unban(ctx, auth.BanUserTokens, r.User)
}

// blocks lists who is kept out.
func (c *call) blocks(context.Context, *blocksRequest) (any, error) {
	list, err := c.door.opts.Hub.Bans()
	if err != nil {
		return nil, err
	}
	for i := range list {
		if err := c.take(len(list[i].Value) + len(list[i].Reason) + perItem); err != nil {
			return nil, err
		}
	}
	if list == nil {
		list = []auth.Ban{}
	}
	return &blocksResult{Blocks: list}, nil
}
