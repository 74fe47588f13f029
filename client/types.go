package client

import (
	"maps"
	"strings"

	"myelin/protocol"
)

// Position is a place in a channel. Offsets of different epochs cannot be
// compared.
type Position struct {
	Epoch  string
	Offset uint64
}

// Publication is what a channel carries.
type Publication struct {
	Channel string
	Data    []byte
	// Position is zero in a channel that keeps no history.
	Position Position
	Tags     map[string]string
	// Info is who published, if the server says.
	Info *ClientInfo
}

// ClientInfo describes a client of the server.
type ClientInfo struct {
	Client   string
	User     string
	ConnInfo []byte
	ChanInfo []byte
}

// PresenceStats counts the subscribers of a channel.
type PresenceStats struct {
	Clients, Users uint32
}

// HistoryOptions say what to read of a channel's history.
type HistoryOptions struct {
	// Limit is how many publications to read: 0 none, only the position, -1 all.
	Limit int32
	// Since is the position after which (before which, if Reverse) to read.
	Since *Position
	// Reverse reads from the newest to the oldest.
	Reverse bool
}

// History is a part of what a channel has kept.
type History struct {
	Publications []Publication
	// Position of the newest publication of the channel.
	Position Position
}

// Strings of a decoded JSON message point into its frame, so what is handed to
// the application is cloned, lest a channel's name keep a frame alive.

func fromWirePublication(channel, epoch string, p *protocol.Publication) Publication {
	pub := Publication{
		Channel:  strings.Clone(channel),
		Data:     p.GetData(),
		Position: Position{Epoch: epoch, Offset: p.GetOffset()},
	}
	if p.GetOffset() == 0 {
		pub.Position = Position{}
	}
	if p.GetChannel() != "" {
		pub.Channel = strings.Clone(p.GetChannel())
	}
	if len(p.GetTags()) > 0 {
		pub.Tags = maps.Clone(p.GetTags())
	}
	if p.GetInfo() != nil {
		info := fromWireInfo(p.GetInfo())
		pub.Info = &info
	}
	return pub
}

func fromWireInfo(i *protocol.ClientInfo) ClientInfo {
	return ClientInfo{
		Client:   strings.Clone(i.GetClient()),
		User:     strings.Clone(i.GetUser()),
		ConnInfo: i.GetConnInfo(),
		ChanInfo: i.GetChanInfo(),
	}
}
