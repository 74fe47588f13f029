package swarm_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myelin/bench/swarm"
	"myelin/protocol"
)

// formats of the dialects, in the same order.
var formats = [2]protocol.Format{protocol.JSON, protocol.Protobuf}

func payload(number uint32) []byte {
	return swarm.AppendPayload(nil, 128, 0xABCD0123, number, time.Duration(number)*time.Second)
}

func TestPayload(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(swarm.MinPayload, 2000).Draw(t, "size")
		run, number := rapid.Uint32().Draw(t, "run"), rapid.Uint32().Draw(t, "number")
		sent := time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "sent"))
		b := swarm.AppendPayload(nil, size, run, number, sent)
		if len(b) != size || !json.Valid(b) {
			t.Fatalf("%d bytes, valid %v: %s", len(b), json.Valid(b), b)
		}
		gotRun, gotNumber, gotSent, found := swarm.FindStamp(b)
		if !found || gotRun != run || gotNumber != number || gotSent != sent {
			t.Fatalf("found %v: run %x, number %x, sent %v", found, gotRun, gotNumber, gotSent)
		}
		if _, _, _, found := swarm.FindStamp(b[:40]); found {
			t.Fatal("found a stamp that is cut off")
		}
	})
	if _, _, _, found := swarm.FindStamp([]byte(strings.Replace(string(payload(1)), "abcd", "xyzw", 1))); found {
		t.Error("found a stamp of other digits")
	}
}

// TestCommands reads the generator's commands with the server's decoder.
func TestCommands(t *testing.T) {
	awkward := "ns:\"quoted\\ \u00e9\u2028\U0001F600"
	for i, d := range swarm.Dialects() {
		decode := func(b []byte) *protocol.Command {
			t.Helper()
			var commands []*protocol.Command
			err := protocol.DecodeCommands(formats[i], b, func(c *protocol.Command) error {
				commands = append(commands, c)
				return nil
			})
			if err != nil || len(commands) != 1 {
				t.Fatalf("%v: %d commands, error %v in %q", formats[i], len(commands), err, b)
			}
			return commands[0]
		}
		if c := decode(d.Connect(1, awkward)); c.Id != 1 || c.Connect == nil || c.Connect.Token != awkward {
			t.Errorf("connect is %v", c)
		}
		if c := decode(d.Connect(1, "")); c.Connect == nil || c.Connect.Token != "" {
			t.Errorf("connect is %v", c)
		}
		c := decode(d.Subscribe(7, awkward, "", 0, false, false))
		if s := c.Subscribe; c.Id != 7 || s == nil || s.Channel != awkward || s.Recover || s.Recoverable {
			t.Errorf("subscribe is %v", c)
		}
		c = decode(d.Subscribe(7, "a", "ep\"och", 1<<40, true, true))
		if s := c.Subscribe; s == nil || !s.Recover || !s.Recoverable || s.Epoch != "ep\"och" || s.Offset != 1<<40 {
			t.Errorf("subscribe is %v", c)
		}
		c = decode(d.Publish(1<<31, awkward, payload(3)))
		if p := c.Publish; c.Id != 1<<31 || p == nil || p.Channel != awkward || string(p.Data) != string(payload(3)) {
			t.Errorf("publish is %v", c)
		}
		empty := protocol.AppendCommand(nil, formats[i], &protocol.Command{})
		if c := decode(d.Pong()); string(protocol.AppendCommand(nil, formats[i], c)) != string(empty) {
			t.Errorf("pong is %v", c)
		}
	}
}

// replyRow is what a server says and what the generator makes of it.
type replyRow struct {
	reply *protocol.Reply
	want  swarm.Reply
}

func replyRows() []replyRow {
	publication := func(number uint32, offset uint64) *protocol.Publication {
		return &protocol.Publication{Data: payload(number), Offset: offset}
	}
	stamped := func(number uint32, offset uint64) swarm.Publication {
		return swarm.Publication{Offset: offset, Run: 0xABCD0123, Number: number}
	}
	foreign := &protocol.Publication{Data: protocol.Raw(`{"text":"hello"}`), Offset: 4}
	return []replyRow{
		{&protocol.Reply{}, swarm.Reply{Kind: swarm.ReplyPing}},
		{
			&protocol.Reply{Id: 1, Connect: &protocol.ConnectResult{Client: "c", Version: "v", Ping: 25, Pong: true, Session: "s"}},
			swarm.Reply{Kind: swarm.ReplyResult, ID: 1, Pong: true},
		},
		{&protocol.Reply{Id: 9, Publish: &protocol.PublishResult{}}, swarm.Reply{Kind: swarm.ReplyResult, ID: 9}},
		{
			&protocol.Reply{Id: 3, Error: &protocol.Error{Code: 103, Message: "permission denied"}},
			swarm.Reply{Kind: swarm.ReplyRefused, ID: 3, Refused: &swarm.Refused{Code: 103, Message: "permission denied"}},
		},
		{
			&protocol.Reply{Push: &protocol.Push{Channel: "a", Pub: publication(7, 8)}},
			swarm.Reply{Kind: swarm.ReplyPublication, Publication: stamped(7, 8)},
		},
		{
			&protocol.Reply{Push: &protocol.Push{Channel: "a", Pub: publication(8, 0)}},
			swarm.Reply{Kind: swarm.ReplyPublication, Publication: stamped(8, 0)},
		},
		{
			&protocol.Reply{Push: &protocol.Push{Channel: "a", Pub: foreign}},
			swarm.Reply{Kind: swarm.ReplyOther},
		},
		{
			&protocol.Reply{Push: &protocol.Push{Channel: "a", Join: &protocol.Join{Info: &protocol.ClientInfo{Client: "c"}}}},
			swarm.Reply{Kind: swarm.ReplyOther},
		},
		{
			&protocol.Reply{Push: &protocol.Push{Channel: "a", Unsubscribe: &protocol.Unsubscribe{Code: 2500, Reason: "insufficient state"}}},
			swarm.Reply{Kind: swarm.ReplyEnd, Refused: &swarm.Refused{Command: "staying subscribed", Code: 2500, Message: "insufficient state"}},
		},
		{
			&protocol.Reply{Push: &protocol.Push{Disconnect: &protocol.Disconnect{Code: 3001, Reason: "shutdown"}}},
			swarm.Reply{Kind: swarm.ReplyEnd, Refused: &swarm.Refused{Command: "staying subscribed", Code: 3001, Message: "shutdown"}},
		},
		{
			&protocol.Reply{Id: 2, Subscribe: &protocol.SubscribeResult{
				Recoverable: true, Positioned: true, Epoch: "ep", Offset: 12, Recovered: true, WasRecovering: true,
				Publications: []*protocol.Publication{publication(10, 11), foreign, publication(11, 12)},
			}},
			swarm.Reply{
				Kind: swarm.ReplyResult, ID: 2, Epoch: "ep", Offset: 12, Recoverable: true, Recovering: true, Recovered: true,
				Publications: []swarm.Publication{stamped(10, 11), stamped(11, 12)},
			},
		},
		{&protocol.Reply{Id: 2, Subscribe: &protocol.SubscribeResult{}}, swarm.Reply{Kind: swarm.ReplyResult, ID: 2}},
	}
}

// TestReplies decodes what the server's encoder writes, all in one message.
func TestReplies(t *testing.T) {
	for i, d := range swarm.Dialects() {
		var message []byte
		var want []swarm.Reply
		for n, row := range replyRows() {
			if n > 0 {
				message = protocol.AppendDelimiter(message, formats[i])
			}
			message = protocol.AppendReply(message, formats[i], row.reply)
			want = append(want, row.want)
		}
		got, err := d.Replies(message)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v: %d replies, error %v, want %d", formats[i], len(got), err, len(want))
		}
		for n := range want {
			if !reflect.DeepEqual(got[n], want[n]) {
				t.Errorf("%v: reply %d is\n%+v, want\n%+v", formats[i], n, got[n], want[n])
			}
		}
	}
}

// TestOtherJSON has replies in shapes that no server is known to write, but
// that mean the same.
func TestOtherJSON(t *testing.T) {
	d := swarm.Dialects()[0]
	stamp := swarm.Publication{Offset: 5, Run: 0xABCD0123, Number: 4}
	for message, want := range map[string]swarm.Reply{
		`{"push":{"pub":{"offset":5,"data":%s},"channel":"a"}}`:      {Kind: swarm.ReplyPublication, Publication: stamp},
		`{ "push" : {"pub": {"data": %s, "offset": 5} } }`:           {Kind: swarm.ReplyPublication, Publication: stamp},
		`{"publish":{},"id":4}`:                                      {Kind: swarm.ReplyResult, ID: 4},
		`{"id":4,"publish":{"x_position":{"offset":1}}}`:             {Kind: swarm.ReplyResult, ID: 4},
		`{"error":{"message":"no","code":100},"id":4}`:               {Kind: swarm.ReplyRefused, ID: 4, Refused: &swarm.Refused{Code: 100, Message: "no"}},
		`{"id":4,"error":{"code":100,"message":"no"},"publish":{} }`: {Kind: swarm.ReplyRefused, ID: 4, Refused: &swarm.Refused{Code: 100, Message: "no"}},
		` {} `: {Kind: swarm.ReplyPing},
	} {
		if strings.Contains(message, "%s") {
			message = fmt.Sprintf(message, payload(4))
		}
		got, err := d.Replies([]byte(message))
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("%s: %+v, error %v, want %+v", message, got, err, want)
		}
	}
	if got, err := d.Replies([]byte("{}\n\n{}\n")); err != nil || len(got) != 3 || got[1].Kind != swarm.ReplyOther {
		t.Errorf("an empty line gave %+v, error %v", got, err)
	}
	for _, bad := range []string{"x", `{"push":`, `{"id":1,"connect":[]}`, `{"id":-1}`} {
		if got, err := d.Replies([]byte(bad)); err == nil {
			t.Errorf("%s: %+v without an error", bad, got)
		}
	}
}

func TestBadProtobuf(t *testing.T) {
	d := swarm.Dialects()[1]
	for name, bad := range map[string]string{
		"length beyond the end": "\x05\x08\x01",
		"endless varint":        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"field zero":            "\x02\x00\x01",
		"group":                 "\x01\x0b",
		"cut fixed64":           "\x03\x09\x01\x02",
		"cut fixed32":           "\x03\x0d\x01\x02",
		"cut nested":            "\x04\x22\x02\x22\x09",
	} {
		if got, err := d.Replies([]byte(bad)); err == nil {
			t.Errorf("%s: %+v without an error", name, got)
		}
	}
}

func FuzzReplies(f *testing.F) {
	for i, format := range formats {
		message := protocol.AppendReply(nil, format, &protocol.Reply{Push: &protocol.Push{Channel: "a", Pub: &protocol.Publication{Data: payload(1), Offset: 1}}})
		f.Add(i, message)
		f.Add(i, protocol.AppendReply(nil, format, &protocol.Reply{Id: 1, Connect: &protocol.ConnectResult{Pong: true}}))
		f.Add(i, protocol.AppendReply(nil, format, &protocol.Reply{}))
	}
	f.Fuzz(func(t *testing.T, i int, message []byte) {
		got, err := swarm.Dialects()[i&1].Replies(message)
		if err == nil && len(message) > 0 && len(got) == 0 {
			t.Error("no reply and no error")
		}
	})
}
