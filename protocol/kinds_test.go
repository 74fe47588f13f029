package protocol_test

import (
	cf "github.com/centrifugal/protocol"

	"myelin/protocol"
)

// example is one message of a kind, with every field that Myelin uses set.
// Maps have one entry, so that the bytes are always the same.
type example[M any] struct {
	kind    string
	message *M
}

func raw(s string) protocol.Raw { return protocol.Raw(s) }

func commands() []example[protocol.Command] {
	return []example[protocol.Command]{
		{"pong", &protocol.Command{}},
		{"connect", &protocol.Command{Id: 1, Connect: &protocol.ConnectRequest{
			Token: "t.o.k", Data: raw(`{"a":1}`), Name: "js", Version: "5.3.4", Headers: map[string]string{"x": "y"},
			Subs: map[string]*protocol.SubscribeRequest{"chat:a": {Recover: true, Epoch: "e1", Offset: 9}},
		}}},
		{"subscribe", &protocol.Command{Id: 2, Subscribe: &protocol.SubscribeRequest{
			Channel: "chat:ä", Token: "s.u.b", Recover: true, Epoch: "e1", Offset: 1 << 53, Data: raw(`[1,2]`),
			Positioned: true, Recoverable: true, JoinLeave: true,
		}}},
		{"unsubscribe", &protocol.Command{Id: 3, Unsubscribe: &protocol.UnsubscribeRequest{Channel: "chat:a"}}},
		{"publish", &protocol.Command{Id: 4, Publish: &protocol.PublishRequest{Channel: "chat:a", Data: raw(`{"text":"hi <b>&</b>"}`)}}},
		{"presence", &protocol.Command{Id: 5, Presence: &protocol.PresenceRequest{Channel: "chat:a"}}},
		{"presence_stats", &protocol.Command{Id: 6, PresenceStats: &protocol.PresenceStatsRequest{Channel: "chat:a"}}},
		{"history", &protocol.Command{Id: 7, History: &protocol.HistoryRequest{
			Channel: "chat:a", Limit: -1, Reverse: true, Since: &protocol.StreamPosition{Offset: 5, Epoch: "e1"},
		}}},
		{"ping", &protocol.Command{Id: 8, Ping: &cf.PingRequest{}}},
		{"send", &protocol.Command{Send: &protocol.SendRequest{Data: raw(`null`)}}},
		{"rpc", &protocol.Command{Id: 10, Rpc: &protocol.RPCRequest{Method: "myelin.publish", Data: raw(`{"channel":"a"}`)}}},
		{"refresh", &protocol.Command{Id: 11, Refresh: &protocol.RefreshRequest{Token: "t.o.k"}}},
		{"sub_refresh", &protocol.Command{Id: 1<<32 - 1, SubRefresh: &protocol.SubRefreshRequest{Channel: "chat:a", Token: "s.u.b"}}},
	}
}

func info() *protocol.ClientInfo {
	return &protocol.ClientInfo{User: "u1", Client: "c1", ConnInfo: raw(`{"name":"Ann"}`), ChanInfo: raw(`{"role":1}`)}
}

func publication() *protocol.Publication {
	return &protocol.Publication{Data: raw(`{"v":1.50}`), Info: info(), Offset: 12, Tags: map[string]string{"k": "v"}}
}

func subscribeResult() *protocol.SubscribeResult {
	return &protocol.SubscribeResult{
		Expires: true, Ttl: 60, Recoverable: true, Epoch: "e1", Publications: []*protocol.Publication{publication(), {Data: raw(`2`), Offset: 13}},
		Recovered: true, Offset: 13, Positioned: true, Data: raw(`{"hello":1}`), WasRecovering: true,
	}
}

func replies() []example[protocol.Reply] {
	r := []example[protocol.Reply]{
		{"ping from the server", &protocol.Reply{}},
		{"error", &protocol.Reply{Id: 1, Error: &protocol.Error{Code: 100, Message: "internal server error", Temporary: true}}},
		{"connect", &protocol.Reply{Id: 1, Connect: &protocol.ConnectResult{
			Client: "c1", Version: "myelin", Expires: true, Ttl: 300, Data: raw(`{}`), Ping: 25, Pong: true,
			Session: "s1", Node: "n1", Time: 1750000000000,
			Subs: map[string]*protocol.SubscribeResult{"chat:a": subscribeResult()},
		}}},
		{"subscribe", &protocol.Reply{Id: 2, Subscribe: subscribeResult()}},
		{"unsubscribe", &protocol.Reply{Id: 3, Unsubscribe: &protocol.UnsubscribeResult{}}},
		{"publish", &protocol.Reply{Id: 4, Publish: &protocol.PublishResult{}}},
		{"presence", &protocol.Reply{Id: 5, Presence: &protocol.PresenceResult{Presence: map[string]*protocol.ClientInfo{"c1": info()}}}},
		{"presence_stats", &protocol.Reply{Id: 6, PresenceStats: &protocol.PresenceStatsResult{NumClients: 3, NumUsers: 2}}},
		{"history", &protocol.Reply{Id: 7, History: &protocol.HistoryResult{
			Publications: []*protocol.Publication{publication()}, Epoch: "e1", Offset: 12,
		}}},
		{"ping", &protocol.Reply{Id: 8, Ping: &cf.PingResult{}}},
		{"rpc", &protocol.Reply{Id: 10, Rpc: &protocol.RPCResult{Data: raw(`{"offset":1}`)}}},
		{"refresh", &protocol.Reply{Id: 11, Refresh: &protocol.RefreshResult{Client: "c1", Version: "myelin", Expires: true, Ttl: 300}}},
		{"sub_refresh", &protocol.Reply{Id: 12, SubRefresh: &protocol.SubRefreshResult{Expires: true, Ttl: 60}}},
	}
	for _, p := range pushes() {
		r = append(r, example[protocol.Reply]{"push " + p.kind, &protocol.Reply{Push: p.message}})
	}
	return r
}

func pushes() []example[protocol.Push] {
	return []example[protocol.Push]{
		{"ping", &protocol.Push{}},
		{"pub", &protocol.Push{Channel: "chat:a", Pub: publication()}},
		{"join", &protocol.Push{Channel: "chat:a", Join: &protocol.Join{Info: info()}}},
		{"leave", &protocol.Push{Channel: "chat:a", Leave: &protocol.Leave{Info: info()}}},
		{"unsubscribe", &protocol.Push{Channel: "chat:a", Unsubscribe: &protocol.Unsubscribe{Code: 2500, Reason: "insufficient state"}}},
		{"message", &protocol.Push{Message: &protocol.Message{Data: raw(`"note"`)}}},
		{"subscribe", &protocol.Push{Channel: "chat:a", Subscribe: &protocol.Subscribe{
			Recoverable: true, Epoch: "e1", Offset: 12, Positioned: true, Data: raw(`{}`),
		}}},
		{"connect", &protocol.Push{Connect: &protocol.Connect{
			Client: "c1", Version: "myelin", Data: raw(`{}`), Expires: true, Ttl: 300, Ping: 25, Session: "s1", Node: "n1", Time: 1750000000000,
			Subs: map[string]*protocol.SubscribeResult{"chat:a": {Epoch: "e1", Offset: 12, Recoverable: true}},
		}}},
		{"disconnect", &protocol.Push{Disconnect: &protocol.Disconnect{Code: 3008, Reason: "slow"}}},
		{"refresh", &protocol.Push{Refresh: &protocol.Refresh{Expires: true, Ttl: 300}}},
	}
}
