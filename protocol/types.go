package protocol

import cf "github.com/centrifugal/protocol"

// Command and those that follow are the messages of the protocol. See
// client.proto of the codec module for every field.
//
//nolint:revive // one comment for all of them
type (
	Command              = cf.Command
	Reply                = cf.Reply
	Push                 = cf.Push
	Error                = cf.Error
	EmulationRequest     = cf.EmulationRequest
	ClientInfo           = cf.ClientInfo
	Publication          = cf.Publication
	Join                 = cf.Join
	Leave                = cf.Leave
	Unsubscribe          = cf.Unsubscribe
	Subscribe            = cf.Subscribe
	Message              = cf.Message
	Connect              = cf.Connect
	Disconnect           = cf.Disconnect
	Refresh              = cf.Refresh
	ConnectRequest       = cf.ConnectRequest
	ConnectResult        = cf.ConnectResult
	RefreshRequest       = cf.RefreshRequest
	RefreshResult        = cf.RefreshResult
	SubscribeRequest     = cf.SubscribeRequest
	SubscribeResult      = cf.SubscribeResult
	SubRefreshRequest    = cf.SubRefreshRequest
	SubRefreshResult     = cf.SubRefreshResult
	UnsubscribeRequest   = cf.UnsubscribeRequest
	UnsubscribeResult    = cf.UnsubscribeResult
	PublishRequest       = cf.PublishRequest
	PublishResult        = cf.PublishResult
	PresenceRequest      = cf.PresenceRequest
	PresenceResult       = cf.PresenceResult
	PresenceStatsRequest = cf.PresenceStatsRequest
	PresenceStatsResult  = cf.PresenceStatsResult
	StreamPosition       = cf.StreamPosition
	HistoryRequest       = cf.HistoryRequest
	HistoryResult        = cf.HistoryResult
	RPCRequest           = cf.RPCRequest
	RPCResult            = cf.RPCResult
	SendRequest          = cf.SendRequest
	FilterNode           = cf.FilterNode
	// Raw is a payload: one JSON value on a JSON connection, any bytes on a
	// Protobuf one.
	Raw = cf.Raw
)
