package pusher_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"myelin/door/pusher"
	"myelin/hub"
	"myelin/observe"
)

// frame is one frame of a client's, masked with zeros.
func frame(op byte, b []byte) []byte {
	f := []byte{0x80 | op}
	switch n := len(b); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(n))
	}
	return append(append(f, 0, 0, 0, 0), b...)
}

// raw sends a message as it is.
func (p *peer) raw(text string) {
	p.t.Helper()
	if _, err := p.conn.Write(frame(1, []byte(text))); err != nil {
		p.t.Fatal(err)
	}
}

// What a stranger can send is answered or ends his connection, with a code.
func TestStrangers(t *testing.T) {
	s := newStage(t, hub.Limits{MessageBytes: 1 << 20, QueueBytes: 2 << 20, CommandsPerSecond: 1000, CommandBurst: 1000})
	deep := strings.Repeat("[", 300_000)
	p := s.connect(t)
	for name, text := range map[string]string{
		"no JSON":              `{`,
		"an array":             `[]`,
		"deep":                 deep,
		"deep data":            `{"event":"pusher:subscribe","data":` + deep + strings.Repeat("]", 300_000) + `}`,
		"an event of Pusher's": `{"event":"pusher_internal:member_added","channel":"presence-x","data":{}}`,
		"a long name":          `{"event":"pusher:subscribe","data":{"channel":"` + strings.Repeat("x", 201) + `"}}`,
		"another namespace":    `{"event":"pusher:subscribe","data":{"channel":"priv:private-x"}}`,
		"a pattern":            `{"event":"pusher:subscribe","data":{"channel":"private-*"}}`,
		"a system channel":     `{"event":"pusher:subscribe","data":{"channel":"$lifecycle:x"}}`,
		"a lone surrogate":     `{"event":"pusher:subscribe","data":{"channel":"\ud800"}}`,
		"no channel":           `{"event":"pusher:subscribe","data":null}`,
		"a number":             `{"event":"pusher:unsubscribe","data":7}`,
		"a user's id too long": `{"event":"pusher:subscribe","data":{"channel":"#server-to-user-` + strings.Repeat("x", 200) + `"}}`,
	} {
		p.raw(text)
		if m := p.next(); m.Event != "pusher:error" || !strings.Contains(string(m.Data), "4300") {
			t.Errorf("%s: %s %s", name, m.Event, m.Data)
		}
	}
	for name, c := range map[string]struct {
		event, want string
	}{
		"no signature":           {`"channel":"private-x"`, `"status":401`},
		"a long signature":       {`"channel":"private-x","auth":"` + key + ":" + strings.Repeat("0", 100_000) + `"`, `"status":401`},
		"another key":            {`"channel":"private-x","auth":"x:` + pusher.Sign(secret, p.socket+":private-x") + `"`, `"status":401`},
		"another channel's":      {`"channel":"private-x","auth":"` + key + ":" + pusher.Sign(secret, p.socket+":private-y") + `"`, `"status":401`},
		"another's channel_data": {`"channel":"presence-x","channel_data":"{\"user_id\":\"root\"}","auth":"` + key + ":" + pusher.Sign(secret, p.socket+`:presence-x:{"user_id":"me"}`) + `"`, `"status":401`},
		"a channel in the data":  {`"channel":"presence-x","channel_data":"private-y","auth":"` + key + ":" + pusher.Sign(secret, p.socket+":presence-x:private-y") + `"`, `"status":400`},
	} {
		p.raw(`{"event":"pusher:subscribe","data":{` + c.event + `}}`)
		if m := p.wants("pusher:subscription_error"); !strings.Contains(string(m.Data), c.want) {
			t.Errorf("%s: %s", name, m.Data)
		}
	}
	for name, c := range map[string]struct {
		body []byte
		code int
	}{
		"not UTF-8": {[]byte("\xff\xfe"), 1007},
		"too large": {make([]byte, 1<<20+17<<10), 1009},
	} {
		q := s.connect(t)
		_, _ = q.conn.Write(frame(1, c.body)[:min(len(c.body), 1000)+6]) // more is not read
		if m := q.wants("close"); m.code != c.code {
			t.Errorf("%s: %d, want %d", name, m.code, c.code)
		}
	}
}

// Ten thousand subscriptions are refused at the limit, a flood is sent away, and
// both are counted.
func TestFloods(t *testing.T) {
	s := newStage(t, hub.Limits{ChannelsPerConnection: 10, CommandsPerSecond: 1_000_000, CommandBurst: 1_000_000})
	p := s.connect(t)
	const n = 10_000
	go func() {
		for i := range n {
			b := fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"channel":"c%d"}}`, i)
			if _, err := p.conn.Write(frame(1, b)); err != nil {
				return
			}
		}
	}()
	in := 0
	for range n {
		switch m := p.next(); {
		case m.Event == "pusher_internal:subscription_succeeded":
			in++
		case !strings.Contains(string(m.Data), "LimitReached"):
			t.Fatalf("%+v", m)
		}
	}
	if hits := s.Metrics.Limit(observe.LimitChannels).Value(); in != 10 || hits != n-10 {
		t.Errorf("%d subscriptions, %d refused", in, hits)
	}
	f := newStage(t, hub.Limits{CommandsPerSecond: 1, CommandBurst: 5})
	q := f.connect(t)
	for range 6 {
		q.send(`{"event":"pusher:ping"}`)
	}
	for range 5 {
		q.wants("pusher:pong")
	}
	if m := q.wants("close"); m.code != 4100 || f.Metrics.Limit(observe.LimitCommands).Value() == 0 {
		t.Errorf("%d", m.code)
	}
}

// The HTTP API lets nobody in without the secret, and a body that is huge or
// deep is refused. Within its time a signed request may come again, as with
// Pusher; another body may not come with its signature.
func TestStrangersAtTheAPI(t *testing.T) {
	s := newStage(t, hub.Limits{MessageBytes: 1000})
	const events = "/apps/1/events"
	for name, c := range map[string]struct {
		query  map[string]string
		body   string
		status int
	}{
		"huge":             {nil, strings.Repeat(" ", 61_000), 413},
		"deep":             {nil, `{"name":"e","channel":"a","data":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, 400},
		"101 channels":     {nil, `{"name":"e","data":"","channels":["a"` + strings.Repeat(`,"a"`, 100) + `]}`, 400},
		"11 events":        {nil, `{"batch":[{}` + strings.Repeat(`,{}`, 10) + `]}`, 400},
		"a long name":      {nil, `{"name":"` + strings.Repeat("x", 201) + `","data":"","channel":"a"}`, 400},
		"a system channel": {nil, `{"name":"e","data":"","channel":"$lifecycle:x"}`, 400},
		"not UTF-8":        {nil, "{\"name\":\"e\",\"channel\":\"a\",\"data\":{\"x\":\"\xff\"}}", 400},
		"an old one":       {map[string]string{"auth_timestamp": "1"}, "{}", 401},
		"one of next year": {map[string]string{"auth_timestamp": "4000000000"}, "{}", 401},
		"no time":          {map[string]string{"auth_timestamp": "x"}, "{}", 401},
		"another body":     {map[string]string{"body_md5": strings.Repeat("0", 32)}, "{}", 401},
		"another key":      {map[string]string{"auth_key": "x"}, "{}", 401},
		"another version":  {map[string]string{"auth_version": "2.0"}, "{}", 401},
	} {
		path := events
		if strings.Contains(c.body, "batch") {
			path = "/apps/1/batch_events"
		}
		if status, body := s.api(t, "POST", path, c.query, c.body); status != c.status {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if n := s.Metrics.Door("pusher_api").Refused.Value(); n == 0 {
		t.Error("refusals are not counted")
	}
}
