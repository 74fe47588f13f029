package protocol

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/centrifugal/protocol/cfjson"

	"myelin/channel"
)

// FromError returns what a client sees of err.
func FromError(err error) *Error {
	e := channel.Public(err)
	return &Error{Code: uint32(e.Code), Message: e.Message, Temporary: e.Temporary}
}

// FromPublication returns p as a client of the given format sees it. Offsets
// appear only where the channel is recoverable. Bytes that are not JSON reach
// a JSON client as {"$b64":"..."}, base64 of RFC 4648 section 4.
func FromPublication(f Format, p *channel.Publication, recoverable bool) *Publication {
	out := &Publication{Data: Payload(f, p), Info: FromClientInfo(p.Info), Tags: p.Tags}
	out.Key, out.Score = p.Key, p.Score
	out.Removed = p.Op == channel.OpDelete || p.Op == channel.OpExpire
	if recoverable {
		out.Offset = p.Offset
	}
	return out
}

// Payload returns the data of p as a client of the given format sees it.
func Payload(f Format, p *channel.Publication) Raw {
	if f == Protobuf || p.ContentType == channel.ContentJSON {
		return p.Data
	}
	out := make([]byte, 0, len(p.Data)*4/3+16)
	out = append(out, `{"$b64":"`...)
	out = base64.StdEncoding.AppendEncode(out, p.Data)
	return append(out, `"}`...)
}

// ContentType returns the content type of data that came in the given format:
// what a JSON client sends is JSON by construction, what a Protobuf client
// sends is looked at. Text that is not UTF-8 is not JSON: a JSON client would
// have to drop its connection.
func ContentType(f Format, data []byte) string {
	if f == JSON || cfjson.Valid(data) {
		return channel.ContentJSON
	}
	return channel.ContentBytes
}

// FromClientInfo returns i for the wire, nil for nil.
func FromClientInfo(i *channel.ClientInfo) *ClientInfo {
	if i == nil {
		return nil
	}
	return &ClientInfo{User: i.User, Client: i.Client, ConnInfo: i.ConnInfo, ChanInfo: i.ChanInfo}
}

// unquote returns the text of a JSON string; other JSON is returned as it is,
// because some clients embed the commands themselves.
func unquote(raw []byte) ([]byte, error) {
	if len(raw) == 0 || raw[0] != '"' {
		return raw, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return []byte(text), nil
}
