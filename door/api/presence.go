package api

import (
	"context"
	"encoding/json"
)

type presenceUsersRequest struct {
	Channel string `json:"channel"`
}

// presentUser is a user in a channel, with the info of one of the connections.
type presentUser struct {
	User       string          `json:"user"`
	NumClients int             `json:"num_clients"`
	ConnInfo   json.RawMessage `json:"conn_info,omitempty"`
	ChanInfo   json.RawMessage `json:"chan_info,omitempty"`
}

type presenceUsersResult struct {
	Users []presentUser `json:"users"`
}

// presenceUsers lists which users are in a channel.
func (c *call) presenceUsers(_ context.Context, r *presenceUsersRequest) (any, error) {
	users, err := c.door.opts.Hub.PresenceUsers(r.Channel)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, u := range users {
		size += sizeOf(u.Info)
	}
	if err := c.take(size); err != nil {
		return nil, err
	}
	out := &presenceUsersResult{Users: make([]presentUser, len(users))}
	for i, u := range users {
		info := infoOf(u.Info)
		out.Users[i] = presentUser{u.User, u.Clients, info.ConnInfo, info.ChanInfo}
	}
	return out, nil
}
