package memory_test

import (
	"testing"

	"myelin/channel"
	"myelin/engine/memory"
)

type sink struct{ got []*channel.Publication }

func (s *sink) Deliver(p *channel.Publication) { s.got = append(s.got, p) }
func (s *sink) Lost(string)                    {}

func TestWalks(t *testing.T) {
	e := memory.New(memory.Options{})
	s := &sink{}
	if err := e.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	p := &channel.Policy{HistorySize: 3}
	top, err := e.Subscribe(t.Context(), "a", p)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := e.Publish(t.Context(), &channel.PublishRequest{Channel: "a", Policy: p, Data: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := e.Read(t.Context(), &channel.ReadRequest{Channel: "a", Policy: p, Since: channel.Position{Epoch: top.Epoch, Offset: 2}, Limit: -1})
	if err != nil || !r.Complete || len(r.Pubs) != 3 || r.Pubs[0].Offset != 3 || r.Top.Offset != 5 {
		t.Fatal(r, err)
	}
	if len(s.got) != 5 || s.got[4].Prev != 4 {
		t.Fatal(s.got)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
