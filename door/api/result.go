package api

import (
	"encoding/json"

	"myelin/channel"
	"myelin/protocol"
)

// envelope is the answer of every method but batch.
type envelope struct {
	Result any      `json:"result,omitempty"`
	Error  *failure `json:"error,omitempty"`
}

// failure is an error as callers see it.
type failure struct {
	Code    channel.Code `json:"code"`
	Message string       `json:"message"`
	// RetryMs is Myelin's own: after how many milliseconds to try again.
	RetryMs int64 `json:"x_retry_ms,omitempty"`
}

func failureOf(err error) *failure {
	e := channel.Public(err)
	return &failure{Code: e.Code, Message: e.Message, RetryMs: e.Retry.Milliseconds()}
}

type empty struct{}

type publishResult struct {
	Offset uint64 `json:"offset"`
	Epoch  string `json:"epoch"`
}

type broadcastResult struct {
	Responses []envelope `json:"responses"`
}

type batchResult struct {
	Replies []map[string]any `json:"replies"`
}

type clientInfo struct {
	User     string          `json:"user"`
	Client   string          `json:"client"`
	ConnInfo json.RawMessage `json:"conn_info,omitempty"`
	ChanInfo json.RawMessage `json:"chan_info,omitempty"`
}

type presenceResult struct {
	Presence map[string]*clientInfo `json:"presence"`
}

type presenceStatsResult struct {
	NumClients int `json:"num_clients"`
	NumUsers   int `json:"num_users"`
}

type publication struct {
	Data   json.RawMessage   `json:"data"`
	Info   *clientInfo       `json:"info,omitempty"`
	Offset uint64            `json:"offset"`
	Tags   map[string]string `json:"tags,omitempty"`
}

type historyResult struct {
	Publications []publication `json:"publications"`
	Epoch        string        `json:"epoch"`
	Offset       uint64        `json:"offset"`
}

type channelInfo struct {
	NumClients int `json:"num_clients"`
}

type channelsResult struct {
	Channels map[string]channelInfo `json:"channels"`
}

type nodeResult struct {
	UID         string `json:"uid"`
	Name        string `json:"name"`
	Version     string `json:"version"`
	NumClients  int    `json:"num_clients"`
	NumUsers    int    `json:"num_users"`
	NumSubs     int    `json:"num_subs"`
	NumChannels int    `json:"num_channels"`
	Uptime      int64  `json:"uptime"`
	// Addr and Silent are Myelin's own, of nodes of a cluster.
	Addr   string `json:"x_addr,omitempty"`
	Silent bool   `json:"x_silent,omitempty"`
}

type infoResult struct {
	Nodes []nodeResult `json:"nodes"`
}

// infoOf returns i as callers see it, nil for nil.
func infoOf(i *channel.ClientInfo) *clientInfo {
	if i == nil {
		return nil
	}
	return &clientInfo{User: i.User, Client: i.Client, ConnInfo: asJSON(i.ConnInfo), ChanInfo: asJSON(i.ChanInfo)}
}

// asJSON returns bytes that a token brought as one JSON value, in the form that
// JSON clients get where they are something else.
func asJSON(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	return payload(&channel.Publication{Data: b, ContentType: protocol.ContentType(protocol.Protobuf, b)})
}

func payload(p *channel.Publication) json.RawMessage {
	return json.RawMessage(protocol.Payload(protocol.JSON, p))
}

// sizeOf returns about how many bytes of an answer i takes.
func sizeOf(i *channel.ClientInfo) int {
	if i == nil {
		return 0
	}
	return len(i.User) + 2*len(i.Client) + len(i.ConnInfo) + len(i.ChanInfo) + perItem
}

// perItem is about what an answer holds around each of its items.
const perItem = 64
