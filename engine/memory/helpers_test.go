package memory_test

import (
	"context"
	"testing"
	"testing/synctest"

	"myelin/channel"
	"myelin/engine/memory"
)

// bench is an engine with a sink and calls that must not fail.
type bench struct {
	t *testing.T
	*memory.Engine
	got  []*channel.Publication
	lost []string
}

func (s *bench) Deliver(p *channel.Publication) { s.got = append(s.got, p) }
func (s *bench) Lost(name string) {
	s.lost = append(s.lost, name)
	s.got = append(s.got, nil)
}

// Cleared is for engines that several nodes share.
func (s *bench) Cleared(name string) { s.Lost(name) }

// inBubble runs a test on an engine in virtual time.
func inBubble(t *testing.T, o memory.Options, run func(s *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &bench{t: t, Engine: memory.New(o)}
		if err := s.Start(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		// Also when the test has ended, so that its bubble can.
		defer func() {
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if left := s.Stats(); left.Channels != 0 || left.Bytes != 0 {
				t.Errorf("after Close %+v are counted", left)
			}
		}()
		run(s)
	})
}

func (s *bench) publish(r channel.PublishRequest) channel.Ack {
	s.t.Helper()
	ack, err := s.Publish(s.t.Context(), &r)
	if err != nil {
		s.t.Fatal(err)
	}
	return ack
}

func (s *bench) subscribe(name string, p *channel.Policy) channel.Position {
	s.t.Helper()
	top, err := s.Subscribe(s.t.Context(), name, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return top
}

func (s *bench) since(name string, p *channel.Policy, at channel.Position) channel.ReadResult {
	s.t.Helper()
	res, err := s.Read(s.t.Context(), &channel.ReadRequest{Channel: name, Policy: p, Since: at, Limit: -1})
	if err != nil {
		s.t.Fatal(err)
	}
	return res
}

func (s *bench) snapshot(name string, p *channel.Policy) channel.StatePage {
	s.t.Helper()
	page, err := s.Snapshot(s.t.Context(), &channel.SnapshotRequest{Channel: name, Policy: p})
	if err != nil {
		s.t.Fatal(err)
	}
	return page
}

// want fails unless Stats counts what is given.
func (s *bench) want(what string, channels, ids int64) {
	s.t.Helper()
	synctest.Wait()
	if got := s.Stats(); got.Channels != channels || got.IDs != ids {
		s.t.Errorf("%s: %+v, want %d channels and %d ids", what, got, channels, ids)
	}
}
