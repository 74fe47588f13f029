package memory_test

import (
	"context"
	"errors"
	"strings"

	"myelin/channel"
)

func refusalFaults() []fault {
	return []fault{
		{"names are not looked at", func(b *bent) {
			b.names(func(name string) string {
				if channel.CheckName(name) != nil {
					return "bad"
				}
				return name
			})
		}, []string{"names/bad"}},
		{"long ids are cut", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) { r.ID = r.ID[:min(len(r.ID), channel.MaxIDBytes)] })
		}, []string{"refuse/oversize"}},
		{"long keys are cut", func(b *bent) {
			b.requests(func(r *channel.PublishRequest) { r.Key = r.Key[:min(len(r.Key), channel.MaxKeyBytes)] })
		}, []string{"refuse/oversize"}},
		{"what a channel cannot do is left undone in silence", func(b *bent) {
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				ack, err := b.Engine.Publish(ctx, r)
				if errors.Is(err, channel.ErrBadRequest) && strings.HasPrefix(r.Channel, "kind:") {
					return channel.Ack{Position: channel.Position{Epoch: "e", Offset: 1}}, nil
				}
				return ack, err
			}
		}, []string{"refuse/wrong-kind"}},
		{"any durability is promised", func(b *bent) {
			b.policies(func(p *channel.Policy) { p.Durability = channel.DurabilityMemory })
		}, []string{"refuse/durability"}},
		{"errors have no code", func(b *bent) {
			b.publish = func(ctx context.Context, r *channel.PublishRequest) (channel.Ack, error) {
				ack, err := b.Engine.Publish(ctx, r)
				if err != nil {
					err = errors.New("something went wrong")
				}
				return ack, err
			}
		}, []string{"names/bad", "refuse/oversize", "refuse/wrong-kind", "life/given-up", "life/after-close", "life/close-under-load"}},
	}
}
