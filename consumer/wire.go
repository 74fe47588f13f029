package consumer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"myelin/channel"
	"myelin/hub"
)

// settingsJSON is Settings with durations in milliseconds.
type settingsJSON struct {
	AckTimeout    int64  `json:"ack_timeout_ms"`
	MaxUnacked    int    `json:"max_unacked"`
	MaxPerSession int    `json:"max_per_session"`
	MaxAttempts   int    `json:"max_attempts"`
	DeadLetter    string `json:"dead_letter"`
	Ordered       bool   `json:"ordered"`
	Exclusive     bool   `json:"exclusive"`
}

// MarshalJSON writes durations in milliseconds.
func (s Settings) MarshalJSON() ([]byte, error) {
	return json.Marshal(settingsJSON{
		s.AckTimeout.Milliseconds(), s.MaxUnacked, s.MaxPerSession, s.MaxAttempts, s.DeadLetter, s.Ordered, s.Exclusive,
	})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (s *Settings) UnmarshalJSON(b []byte) error {
	var j settingsJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Settings{
		time.Duration(j.AckTimeout) * time.Millisecond, j.MaxUnacked, j.MaxPerSession, j.MaxAttempts, j.DeadLetter, j.Ordered, j.Exclusive,
	}
	return nil
}

// Milliseconds returns a duration that came as a number of them; what no
// duration holds becomes one that is too long for everything.
func Milliseconds(n int64) time.Duration {
	const most = int64(100 * 365 * 24 * time.Hour / time.Millisecond)
	return time.Duration(min(max(n, -most), most)) * time.Millisecond
}

// WordJSON is a Word as clients send it.
type WordJSON struct {
	Ack        string   `json:"ack"`
	Acks       []string `json:"acks"`
	Consumer   string   `json:"consumer"`
	Channel    string   `json:"channel"`
	Offset     uint64   `json:"offset"`
	Offsets    []uint64 `json:"offsets"`
	Nack       bool     `json:"nack"`
	DelayMs    int64    `json:"delay_ms"`
	InProgress bool     `json:"in_progress"`
}

// Word returns what a session, by its client id, says; "" is somebody without
// one, who has tokens only.
func (j *WordJSON) Word(session string) (*Word, error) {
	w := &Word{
		Do: doAck, Delay: Milliseconds(j.DelayMs), Tokens: j.Acks, Session: session,
		Consumer: j.Consumer, Channel: j.Channel, Offsets: j.Offsets,
	}
	if j.Ack != "" {
		w.Tokens = append(w.Tokens, j.Ack)
	}
	if j.Offset != 0 {
		w.Offsets = append(w.Offsets, j.Offset)
	}
	switch {
	case j.Nack && j.InProgress:
		return nil, channel.ErrBadRequest.With("nack and in_progress are two answers; give one")
	case j.DelayMs != 0 && !j.Nack:
		return nil, channel.ErrBadRequest.With("delay_ms goes with nack")
	case j.Nack:
		w.Do = doNack
	case j.InProgress:
		w.Do = doProgress
	}
	return w, nil
}

// Say does what the JSON of a WordJSON says.
func (m *Manager) Say(ctx context.Context, session string, body []byte) (*Outcome, error) {
	var j WordJSON
	if err := decode(body, &j, "{\"ack\": TOKEN}, or \"acks\", or \"consumer\", \"channel\" and \"offset\" or \"offsets\"; and \"nack\" with \"delay_ms\", or \"in_progress\""); err != nil {
		return nil, err
	}
	word, err := j.Word(session)
	if err != nil {
		return nil, err
	}
	return m.Settle(ctx, word)
}

// decode reads JSON of known fields. takes says which.
func decode(b []byte, out any, takes string) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return channel.ErrBadRequest.With(fmt.Sprintf("it takes %s: %v", takes, err))
	}
	return nil
}

// RPCs returns the methods of consumers for clients, by name.
func (m *Manager) RPCs() map[string]func(context.Context, *hub.Session, []byte) (any, error) {
	return map[string]func(context.Context, *hub.Session, []byte) (any, error){
		"myelin.consumer.create": m.rpcCreate,
		"myelin.consumer.info":   m.rpcInfo,
		"myelin.consumer.ack": func(ctx context.Context, s *hub.Session, b []byte) (any, error) {
			return m.Say(ctx, s.ID(), b)
		},
	}
}

// rpcCreate makes a consumer as a client wants it. What becomes of what is
// given up is the namespace's: a client must not have the server publish
// wherever it likes.
func (m *Manager) rpcCreate(ctx context.Context, s *hub.Session, b []byte) (any, error) {
	var r struct {
		Consumer      string `json:"consumer"`
		Channel       string `json:"channel"`
		Start         string `json:"start"`
		AckTimeoutMs  *int64 `json:"ack_timeout_ms"`
		MaxUnacked    *int   `json:"max_unacked"`
		MaxPerSession *int   `json:"max_per_session"`
		Ordered       *bool  `json:"ordered"`
		Exclusive     *bool  `json:"exclusive"`
	}
	if err := decode(b, &r, "consumer, channel, start, ack_timeout_ms, max_unacked, max_per_session, ordered, exclusive"); err != nil {
		return nil, err
	}
	rules, err := m.admit(s, r.Consumer, r.Channel)
	if err != nil {
		return nil, err
	}
	set := rules.Settings
	if r.AckTimeoutMs != nil {
		set.AckTimeout = Milliseconds(*r.AckTimeoutMs)
	}
	if r.MaxUnacked != nil {
		set.MaxUnacked, set.MaxPerSession = *r.MaxUnacked, 0
	}
	if r.MaxPerSession != nil {
		set.MaxPerSession = *r.MaxPerSession
	}
	if r.Ordered != nil {
		set.Ordered = *r.Ordered
	}
	if r.Exclusive != nil {
		set.Exclusive = *r.Exclusive
	}
	if r.Start == "" {
		r.Start = rules.start()
	}
	return m.create(ctx, r.Consumer, r.Channel, set, Start{At: r.Start}, &s.Identity().User)
}

func (m *Manager) rpcInfo(ctx context.Context, s *hub.Session, b []byte) (any, error) {
	var r struct {
		Consumer string `json:"consumer"`
		Channel  string `json:"channel"`
	}
	if err := decode(b, &r, "consumer and channel"); err != nil {
		return nil, err
	}
	if _, err := m.admit(s, r.Consumer, r.Channel); err != nil {
		return nil, err
	}
	return m.Info(ctx, r.Consumer, r.Channel)
}
