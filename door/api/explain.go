package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"myelin/channel"
	"myelin/consumer"
	"myelin/hub"
)

type explainRequest struct {
	Channel  string `json:"channel"`
	Offset   uint64 `json:"offset"`
	Epoch    string `json:"epoch"`
	Client   string `json:"client"`
	User     string `json:"user"`
	Consumer string `json:"consumer"`
}

type explainResult struct {
	Published *explainedPublication `json:"published,omitempty"`
	Offset    uint64                `json:"offset"`
	Epoch     string                `json:"epoch"`
	Clients   []finding             `json:"clients,omitempty"`
	Nodes     []reach               `json:"nodes,omitempty"`
	Consumers []consumed            `json:"consumers,omitempty"`
	// MoreConsumers were not looked at.
	MoreConsumers int `json:"more_consumers,omitempty"`
}

// consumed is a finding of a consumer. Connection is what became of the
// delivery that somebody has now, on its way to him.
type consumed struct {
	consumer.Finding

	Connection *finding `json:"connection,omitempty"`
}

// explainedPublication is what is kept of the publication asked about.
type explainedPublication struct {
	Time int64             `json:"time"`
	Size int               `json:"size"`
	Key  string            `json:"key,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
	Info *clientInfo       `json:"info,omitempty"`
}

type finding struct {
	Verdict string       `json:"verdict"`
	Reason  string       `json:"reason"`
	Known   *hub.Account `json:"known,omitempty"`
}

type reach struct {
	Node        string `json:"node"`
	Subscribers int    `json:"subscribers"`
	Reached     int    `json:"reached"`
	Silent      bool   `json:"silent,omitempty"`
}

// explain says what became of a publication.
func (c *call) explain(ctx context.Context, r *explainRequest) (any, error) {
	if name, source, ok := consumer.Source(r.Channel); ok && r.Consumer == "" {
		r.Consumer, r.Channel = name, source
	}
	e, err := c.door.opts.Hub.Explain(ctx, &hub.ExplainRequest{
		Channel: r.Channel, At: channel.Position{Epoch: r.Epoch, Offset: r.Offset}, Client: r.Client, User: r.User, Bare: r.Consumer != "",
	})
	if err != nil {
		return nil, err
	}
	out := &explainResult{Offset: e.Top.Offset, Epoch: e.Top.Epoch}
	if p := e.Pub; p != nil {
		out.Published = &explainedPublication{Time: p.Time, Size: len(p.Data), Key: p.Key, Tags: p.Tags, Info: infoOf(p.Info)}
	}
	for _, f := range e.Clients {
		out.Clients = append(out.Clients, finding{Verdict: string(f.Verdict), Reason: f.Reason, Known: f.Account})
	}
	for _, n := range e.Nodes {
		out.Nodes = append(out.Nodes, reach(n))
	}
	return out, c.explainConsumers(ctx, r, e, out)
}

// maxFollowed is how many deliveries one explanation follows to the connections
// of those who have them.
const maxFollowed = 10

// explainConsumers adds what became of it at the consumers of the channel.
func (c *call) explainConsumers(ctx context.Context, r *explainRequest, e *hub.Explanation, out *explainResult) error {
	list, more, err := c.door.opts.Consumers.Explain(ctx, &consumer.ExplainRequest{
		Channel: r.Channel, Consumer: r.Consumer, Client: r.Client, User: r.User, At: e.At, Top: e.Top, Kept: e.Pub != nil,
	})
	if err != nil {
		return err
	}
	out.MoreConsumers = more
	followed := 0
	for _, f := range list {
		one := consumed{Finding: *f}
		if f.Verdict == consumer.VerdictDelivered && f.Client != "" && followed < maxFollowed && r.Consumer+r.Client+r.User != "" {
			followed++
			full, err := consumer.Channel(f.Consumer, r.Channel)
			if err != nil {
				return err
			}
			h := c.door.opts.Hub.ExplainHanded(ctx, full, f.Client, f.DeliveredAt)
			one.Connection = &finding{Verdict: string(h.Verdict), Reason: h.Reason, Known: h.Account}
		}
		out.Consumers = append(out.Consumers, one)
	}
	return nil
}

type connectionsRequest struct {
	User  string `json:"user"`
	Limit uint32 `json:"limit"`
}

// connections lists who is connected, the largest backlog first.
func (c *call) connections(ctx context.Context, r *connectionsRequest) (any, error) {
	switch {
	case r.Limit > hub.MaxConnectionsListed:
		return nil, channel.ErrLimitExceeded.With(fmt.Sprintf("limit is %d, one answer shows at most %d connections", r.Limit, hub.MaxConnectionsListed))
	case r.Limit == 0:
		r.Limit = defaultConnections
	}
	return c.door.opts.Hub.ListConnections(ctx, r.User, int(r.Limit))
}

// defaultConnections is how many are listed where the caller does not say.
const defaultConnections = 100

type limitsRequest struct{}

type limitsResult struct {
	Nodes []hub.LimitsHit `json:"nodes"`
}

// limits tells which limits were hit.
func (c *call) limits(ctx context.Context, _ *limitsRequest) (any, error) {
	return &limitsResult{c.door.opts.Hub.LimitsHit(ctx)}, nil
}

type tailRequest struct {
	Client string `json:"client"`
	After  uint64 `json:"after"`
}

// tail tells what is exchanged with one client.
func (c *call) tail(ctx context.Context, r *tailRequest) (any, error) {
	return c.door.opts.Hub.Tail(ctx, r.Client, r.After)
}

// fromQuery makes the body of a request of its query. Each field stands once.
func fromQuery(m *method, r *http.Request) ([]byte, error) {
	body := make(map[string]any)
	for name, values := range r.URL.Query() {
		field := m.shape.fields[name]
		switch {
		case len(values) != 1:
			return nil, channel.ErrBadRequest.With(cut(name) + " stands more than once")
		case field == nil || field.kind == kindText:
			body[name] = values[0]
		default:
			body[name] = json.RawMessage(values[0])
		}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, channel.ErrBadRequest.With("a field of the query is neither text nor JSON")
	}
	return b, checkJSON(b)
}

// isRead reports whether a request asks by GET, with its fields in the query,
// for the one method that people type into a browser.
func isRead(name string, r *http.Request) bool {
	return r.Method == http.MethodGet && name == "explain"
}
