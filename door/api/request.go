package api

import "encoding/json"

// The requests, named and spelled as Centrifugo's. A field that is here and
// that this server cannot do is refused where its method is done.

type publishRequest struct {
	Channel        string            `json:"channel"`
	Data           json.RawMessage   `json:"data"`
	B64Data        string            `json:"b64data"`
	SkipHistory    bool              `json:"skip_history"`
	Tags           map[string]string `json:"tags"`
	IdempotencyKey string            `json:"idempotency_key"`
	Delta          bool              `json:"delta"`
	Version        uint64            `json:"version"`
	VersionEpoch   string            `json:"version_epoch"`
	ExpiresInMs    int64             `json:"expires_in_ms"`
}

type broadcastRequest struct {
	Channels       []string          `json:"channels"`
	Data           json.RawMessage   `json:"data"`
	B64Data        string            `json:"b64data"`
	SkipHistory    bool              `json:"skip_history"`
	Tags           map[string]string `json:"tags"`
	IdempotencyKey string            `json:"idempotency_key"`
	Delta          bool              `json:"delta"`
	Version        uint64            `json:"version"`
	VersionEpoch   string            `json:"version_epoch"`
	ExpiresInMs    int64             `json:"expires_in_ms"`
}

type position struct {
	Offset uint64 `json:"offset"`
	Epoch  string `json:"epoch"`
}

type flag struct {
	Value bool `json:"value"`
}

type override struct {
	Presence           *flag `json:"presence"`
	JoinLeave          *flag `json:"join_leave"`
	ForcePushJoinLeave *flag `json:"force_push_join_leave"`
	ForcePositioning   *flag `json:"force_positioning"`
	ForceRecovery      *flag `json:"force_recovery"`
}

type subscribeRequest struct {
	User         string          `json:"user"`
	Channel      string          `json:"channel"`
	Client       string          `json:"client"`
	Session      string          `json:"session"`
	ExpireAt     int64           `json:"expire_at"`
	Info         json.RawMessage `json:"info"`
	B64Info      string          `json:"b64info"`
	Data         json.RawMessage `json:"data"`
	B64Data      string          `json:"b64data"`
	RecoverSince *position       `json:"recover_since"`
	Override     *override       `json:"override"`
	Filter       json.RawMessage `json:"filter"`
}

type unsubscribeRequest struct {
	User    string `json:"user"`
	Channel string `json:"channel"`
	Client  string `json:"client"`
	Session string `json:"session"`
}

type disconnect struct {
	Code   uint32 `json:"code"`
	Reason string `json:"reason"`
}

type disconnectRequest struct {
	User       string      `json:"user"`
	Client     string      `json:"client"`
	Session    string      `json:"session"`
	Whitelist  []string    `json:"whitelist"`
	Disconnect *disconnect `json:"disconnect"`
}

type refreshRequest struct {
	User     string          `json:"user"`
	Client   string          `json:"client"`
	Session  string          `json:"session"`
	Expired  bool            `json:"expired"`
	ExpireAt int64           `json:"expire_at"`
	Info     json.RawMessage `json:"info"`
}

type presenceRequest struct {
	Channel string `json:"channel"`
}

type presenceStatsRequest struct {
	Channel string `json:"channel"`
}

type historyRequest struct {
	Channel string    `json:"channel"`
	Limit   int32     `json:"limit"`
	Since   *position `json:"since"`
	Reverse bool      `json:"reverse"`
}

type historyRemoveRequest struct {
	Channel string `json:"channel"`
}

type channelsRequest struct {
	Pattern string `json:"pattern"`
}

type infoRequest struct{}

// batchRequest holds its commands as they came: each is decoded by the method
// it names.
type batchRequest struct {
	Commands []json.RawMessage `json:"commands"`
	Parallel bool              `json:"parallel"`
}

// given reports whether a field of any JSON was there. Some libraries send
// null for what their caller left out.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
