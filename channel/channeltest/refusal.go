package channeltest

import (
	"bytes"
	"fmt"
	"strings"

	"myelin/channel"
)

func refusalChecks() []check {
	return []check{
		{"names/good", checkGoodNames},
		{"names/bad", checkBadNames},
		{"refuse/oversize", checkOversize},
		{"refuse/wrong-kind", checkWrongKind},
		{"refuse/durability", checkDurability},
		{"payload/sizes", checkPayloads},
	}
}

func checkGoodNames(x *exam) {
	p := x.policy(10)
	names := []string{
		"a", ":", "::", "a:", ":a", "a:b:c", "a.b", "a..b", ".", "a.*", "*", ">", "a.>", "a/b", "/", "//", "#", "+", "a/+/#",
		"a b", " ", "$SYS", "a%20b", "a=b&c", "ä", "Ä", "a\u0308", "日本:語", "\U0001F9E0", "a\"b'c`d", "\\", "a,b", "(a|b)", "-", "_",
		strings.Repeat("n", channel.MaxNameBytes), strings.Repeat("é", channel.MaxNameBytes/2),
	}
	tops := make(map[string]channel.Position)
	for _, name := range names {
		tops[name] = x.subscribe(name, p)
	}
	for _, name := range names {
		x.publish(name, p, name)
	}
	for _, name := range names {
		got := x.await(name, x.top(name, p))
		x.chain(name, got, tops[name])
		if len(got) != 1 || string(got[0].Data) != name || got[0].Channel != name {
			x.failf("%q got %q", name, datas(got))
		}
		x.answer(name, x.since(name, p, tops[name]), got[0].Position, true, name)
	}
}

func checkBadNames(x *exam) {
	log, state := x.policy(10), x.statePolicy(10)
	for _, name := range []string{"", "a\nb", "\x00", "a\x7f", "a\xffb", "\xc3", strings.Repeat("n", channel.MaxNameBytes+1)} {
		for _, p := range []*channel.Policy{log, x.ephemeral()} {
			_, err := x.e.Publish(x.ctx, &channel.PublishRequest{Channel: name, Policy: p, ID: "a"})
			x.refused(err, fmt.Sprintf("Publish on %q", name), channel.ErrBadRequest)
			_, err = x.e.Subscribe(x.ctx, name, p)
			x.refused(err, fmt.Sprintf("Subscribe to %q", name), channel.ErrBadRequest)
			_, err = x.e.Read(x.ctx, &channel.ReadRequest{Channel: name, Policy: p})
			x.refused(err, fmt.Sprintf("Read of %q", name), channel.ErrBadRequest)
		}
		x.refused(x.e.Remove(x.ctx, name, log), fmt.Sprintf("Remove of %q", name), channel.ErrBadRequest)
		x.e.Unsubscribe(name)
		if x.e.Caps().State {
			_, err := x.e.Snapshot(x.ctx, &channel.SnapshotRequest{Channel: name, Policy: state})
			x.refused(err, fmt.Sprintf("Snapshot of %q", name), channel.ErrBadRequest)
		}
	}
}

func checkOversize(x *exam) {
	p := x.policy(10)
	r := &channel.PublishRequest{Channel: "over", Policy: p, ID: strings.Repeat("i", channel.MaxIDBytes+1)}
	_, err := x.e.Publish(x.ctx, r)
	x.refused(err, "an id one byte too long", channel.ErrTooLarge)
	r.Policy = x.ephemeral()
	r.Channel = "over:nothing"
	_, err = x.e.Publish(x.ctx, r)
	x.refused(err, "an id one byte too long, on an ephemeral channel", channel.ErrTooLarge)
	x.needState()
	s := x.statePolicy(10)
	for _, op := range []channel.Op{channel.OpPut, channel.OpDelete} {
		key := &channel.PublishRequest{Channel: "over:state", Policy: s, Op: op, Key: strings.Repeat("k", channel.MaxKeyBytes+1)}
		_, err = x.e.Publish(x.ctx, key)
		x.refused(err, "a key one byte too long", channel.ErrTooLarge)
		key.Key = ""
		_, err = x.e.Publish(x.ctx, key)
		x.refused(err, "an empty key", channel.ErrBadRequest)
	}
	if top := x.top("over:state", s); top.Offset != 0 {
		x.failf("refused publications moved the top to %d", top.Offset)
	}
	x.put("over:state", s, strings.Repeat("k", channel.MaxKeyBytes), "fits")
}

func checkWrongKind(x *exam) {
	log := x.policy(10)
	zero := uint64(0)
	for what, r := range map[string]*channel.PublishRequest{
		"a put on a log":             {Op: channel.OpPut, Key: "k"},
		"a delete on a log":          {Op: channel.OpDelete, Key: "k"},
		"an expiry on a log":         {Op: channel.OpExpire, Key: "k"},
		"an append with a key":       {Key: "k"},
		"an append with an offset":   {Expect: &zero},
		"an append with a ttl":       {TTL: x.f.Window},
		"an append with a score":     {Score: 1},
		"an append with a base":      {Data: []byte("x"), Base: 1},
		"an append that expired":     {Expires: -1},
		"an operation nobody knows":  {Op: 77},
		"a put on a log without key": {Op: channel.OpPut},
	} {
		r.Channel, r.Policy = "kind:log", log
		_, err := x.e.Publish(x.ctx, r)
		x.refused(err, what, channel.ErrBadRequest)
	}
	_, err := x.e.Snapshot(x.ctx, &channel.SnapshotRequest{Channel: "kind:log", Policy: log})
	x.refused(err, "a snapshot of a log", channel.ErrBadRequest)
	state := x.statePolicy(10)
	if !x.e.Caps().State {
		_, err = x.e.Subscribe(x.ctx, "kind:state", state)
		x.refused(err, "a state channel on an engine that has none", channel.ErrUnsupported)
		return
	}
	for what, r := range map[string]*channel.PublishRequest{
		"an append on a state channel":  {Data: []byte("x")},
		"an expiry by a publisher":      {Op: channel.OpExpire, Key: "k"},
		"an unknown operation":          {Op: 77, Key: "k"},
		"a put that expired":            {Op: channel.OpPut, Key: "k", Expires: -1},
		"a put with a long base":        {Op: channel.OpPut, Key: "k", Data: []byte("x"), Base: 2},
		"a put with a negative base":    {Op: channel.OpPut, Key: "k", Data: []byte("x"), Base: -1},
		"a delete with a score":         {Op: channel.OpDelete, Key: "k", Score: 1},
		"a put with a negative ttl":     {Op: channel.OpPut, Key: "k", TTL: -1},
		"an append with a key on state": {Key: "k"},
	} {
		r.Channel, r.Policy = "kind:state", state
		_, err := x.e.Publish(x.ctx, r)
		x.refused(err, what, channel.ErrBadRequest)
	}
	if top := x.top("kind:state", state); top.Offset != 0 {
		x.failf("refused publications moved the top to %d", top.Offset)
	}
}

func checkDurability(x *exam) {
	p := x.policy(10)
	p.Durability = x.e.Caps().Durable + 1
	if p.Durability > channel.DurabilitySync {
		x.leaveOut("the engine promises the highest durability")
	}
	_, err := x.e.Publish(x.ctx, &channel.PublishRequest{Channel: "hard", Policy: p})
	x.refused(err, "a publish with a durability beyond the engine's", channel.ErrUnsupported)
	_, err = x.e.Subscribe(x.ctx, "hard", p)
	x.refused(err, "a subscribe with a durability beyond the engine's", channel.ErrUnsupported)
}

func checkPayloads(x *exam) {
	p := x.policy(10)
	top := x.subscribe("sizes", p)
	var sent [][]byte
	for _, size := range []int{0, 1, 255, 256, 4096, 64 << 10, x.f.MaxPayload} {
		data := make([]byte, size, size+size/2)
		for i := range data {
			data[i] = byte(i * 31 >> 3)
		}
		sent = append(sent, bytes.Clone(data))
		x.send(&channel.PublishRequest{Channel: "sizes", Policy: p, Data: data, ContentType: channel.ContentBytes})
	}
	got := x.await("sizes", x.top("sizes", p))
	kept := x.since("sizes", p, top).Pubs
	x.same("read against delivered", kept, got)
	for i, data := range sent {
		if !bytes.Equal(got[i].Data, data) {
			x.failf("a payload of %d bytes came changed, with %d", len(data), len(got[i].Data))
		}
	}
}
