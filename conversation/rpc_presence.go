package conversation

import (
	"encoding/json"

	"myelin/channel"
	"myelin/protocol"
)

// presentUser is a user in the answer of rpc("myelin.presence.users"), with the
// info of one of the connections.
type presentUser struct {
	User       string          `json:"user"`
	NumClients int             `json:"num_clients"`
	ConnInfo   json.RawMessage `json:"conn_info,omitempty"`
	ChanInfo   json.RawMessage `json:"chan_info,omitempty"`
}

// rpcPresenceUsers tells which users are in a channel.
func (c *Conversation) rpcPresenceUsers(data []byte) (any, error) {
	var r struct {
		Channel string `json:"channel"`
	}
	if err := decodeStrict("myelin.presence.users", `{"channel"}`, data, &r); err != nil {
		return nil, err
	}
	users, err := c.session.PresenceUsers(r.Channel)
	if err != nil {
		return nil, err
	}
	out := make([]presentUser, len(users))
	for i, u := range users {
		out[i] = presentUser{u.User, u.Clients, shownAsJSON(u.Info.ConnInfo), shownAsJSON(u.Info.ChanInfo)}
	}
	return struct {
		Users []presentUser `json:"users"`
	}{out}, nil
}

// shownAsJSON returns what a token brought along, which may be any bytes.
func shownAsJSON(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	return json.RawMessage(protocol.Payload(protocol.JSON, &channel.Publication{Data: b, ContentType: protocol.ContentType(protocol.Protobuf, b)}))
}
