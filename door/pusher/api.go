package pusher

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/observe"
)

// API returns the handler of the HTTP API, for the subtree /apps/.
func (d *Door) API() http.Handler {
	mux := http.NewServeMux()
	metrics := d.opts.Metrics.Door("pusher_api")
	for pattern, do := range map[string]method{
		"POST /apps/{id}/events":                             (*Door).events,
		"POST /apps/{id}/batch_events":                       (*Door).batchEvents,
		"GET /apps/{id}/channels":                            (*Door).channels,
		"GET /apps/{id}/channels/{name}":                     (*Door).channel,
		"GET /apps/{id}/channels/{name}/users":               (*Door).users,
		"POST /apps/{id}/users/{user}/terminate_connections": (*Door).terminate,
	} {
		mux.Handle(pattern, &endpoint{d, do, metrics})
	}
	return mux
}

// method does one request and returns its answer. body is what came.
type method func(d *Door, ctx context.Context, r *http.Request, body []byte) (any, error)

type endpoint struct {
	door    *Door
	do      method
	metrics *observe.Door
}

// ServeHTTP answers one signed request. Errors are plain text, as Pusher's are.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := e.serve(w, r)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if err != nil {
		e.metrics.Refused.Inc()
		status := statusOf(err)
		if status == http.StatusInternalServerError {
			e.door.opts.Logger.Error("a request of the Pusher API failed", observe.KeyErr, err)
		}
		h.Set("X-Content-Type-Options", "nosniff")
		http.Error(w, channel.Public(err).Message, status)
		return
	}
	b, err := json.Marshal(out)
	if err != nil {
		http.Error(w, channel.ErrInternal.Message, http.StatusInternalServerError)
		return
	}
	e.metrics.Opened.Inc()
	e.metrics.BytesOut.Add(int64(len(b)))
	h.Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

func (e *endpoint) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	d := e.door
	q, err := conversation.Query(r)
	if err != nil {
		return nil, err
	}
	if r.PathValue("id") != d.opts.AppID {
		return nil, channel.ErrMethodNotFound.With("there is no application of this id")
	}
	if err := d.creds.checkRequest(r, q); err != nil {
		return nil, err
	}
	// JSON in JSON may be six times as long.
	body, err := conversation.Body(w, r, 6*maxBatch*d.hub.Limits().MessageBytes)
	if err != nil {
		return nil, err
	}
	e.metrics.BytesIn.Add(int64(len(body)))
	if err := checkBody(q, body); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), apiTimeout)
	defer cancel()
	return e.do(d, ctx, r, body)
}

// statusOf returns the status that says an error to a library of Pusher.
func statusOf(err error) int {
	switch channel.Public(err).Code {
	case channel.CodeUnauthorized:
		return http.StatusUnauthorized
	case channel.CodePermissionDenied:
		return http.StatusForbidden
	case channel.CodeMethodNotFound:
		return http.StatusNotFound
	case channel.CodeTooLarge, channel.CodeLimitExceeded:
		return http.StatusRequestEntityTooLarge
	case channel.CodeTooManyRequests:
		return http.StatusTooManyRequests
	case channel.CodeUnavailable, channel.CodeUnknownOutcome:
		return http.StatusServiceUnavailable
	case channel.CodeInternal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// event is one that a server publishes.
type event struct {
	Name     string          `json:"name"`
	Data     json.RawMessage `json:"data"`
	Channels []name          `json:"channels"`
	Channel  name            `json:"channel"`
	SocketID string          `json:"socket_id"`
	Info     string          `json:"info"`
}

// check returns nil for an event that can be published.
func (e *event) check() error {
	if e.Channel != "" {
		e.Channels = append(e.Channels, e.Channel)
	}
	switch n := len(e.Channels); {
	case e.Name == "" || len(e.Name) > maxName:
		return channel.ErrBadRequest.With("name, that of the event, has 1 to 200 bytes")
	case strings.HasPrefix(e.Name, clientPrefix):
		return channel.ErrBadRequest.With("events that begin with " + clientPrefix + " are for clients")
	case n == 0 || n > maxTrigger:
		return channel.ErrBadRequest.With("an event goes to 1 to 100 channels")
	case len(e.SocketID) > maxName:
		return channel.ErrBadRequest.With("socket_id is none")
	case len(e.Data) == 0:
		return channel.ErrBadRequest.With("data is missing")
	}
	for _, c := range e.Channels {
		if err := c.check(); err != nil {
			return err
		}
	}
	return nil
}

// publish publishes an event to all its channels, and stops where it cannot.
func (d *Door) publish(ctx context.Context, e *event) error {
	for _, c := range e.Channels {
		r := request(d.spaces.channel(c), e.Name, e.Data)
		if e.SocketID != "" {
			r.Tags[tagExcept] = e.SocketID
		}
		if _, err := d.hub.Publish(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func read(body []byte, v any) error {
	if !utf8.Valid(body) || json.Unmarshal(body, v) != nil {
		return channel.ErrBadRequest.With("the body is not the JSON it should be, in UTF-8")
	}
	return nil
}

func (d *Door) events(ctx context.Context, _ *http.Request, body []byte) (any, error) {
	e := new(event)
	if err := read(body, e); err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	if err := d.publish(ctx, e); err != nil {
		return nil, err
	}
	if e.Info == "" {
		return struct{}{}, nil
	}
	all := make(map[name]any, len(e.Channels))
	for _, c := range e.Channels {
		about, err := d.about(ctx, c, e.Info)
		if err != nil {
			return nil, err
		}
		delete(about, "occupied")
		all[c] = about
	}
	return map[string]any{"channels": all}, nil
}

func (d *Door) batchEvents(ctx context.Context, _ *http.Request, body []byte) (any, error) {
	var r struct {
		Batch []*event `json:"batch"`
	}
	if err := read(body, &r); err != nil {
		return nil, err
	}
	if n := len(r.Batch); n == 0 || n > maxBatch {
		return nil, channel.ErrBadRequest.With("a batch has 1 to " + strconv.Itoa(maxBatch) + " events")
	}
	// All are looked at before any is published.
	for _, e := range r.Batch {
		if e == nil {
			return nil, channel.ErrBadRequest.With("an event of the batch is null")
		}
		if err := e.check(); err != nil {
			return nil, err
		}
	}
	about := make([]any, len(r.Batch))
	asked := false
	for i, e := range r.Batch {
		if err := d.publish(ctx, e); err != nil {
			return nil, err
		}
		info := map[string]any{}
		if e.Info != "" {
			asked = true
			var err error
			if info, err = d.about(ctx, e.Channels[0], e.Info); err != nil {
				return nil, err
			}
			delete(info, "occupied")
		}
		about[i] = info
	}
	if asked {
		return map[string]any{"batch": about}, nil
	}
	return struct{}{}, nil
}

// about returns what info, a list of attributes, asks of a channel.
func (d *Door) about(ctx context.Context, n name, info string) (map[string]any, error) {
	of := d.spaces.channel(n)
	found, err := d.hub.Channels(ctx, of, 1)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"occupied": found[of] > 0}
	for attribute := range strings.SplitSeq(info, ",") {
		switch strings.TrimSpace(attribute) {
		case "":
		case "subscription_count":
			out["subscription_count"] = found[of]
		case "user_count":
			if !n.presence() {
				return nil, channel.ErrBadRequest.With("user_count is for presence channels")
			}
			st, err := d.hub.PresenceStats(of)
			if err != nil {
				return nil, err
			}
			out["user_count"] = st.Users
		case "cache":
			out["cache"] = d.cached(ctx, n)
		default:
			return nil, channel.ErrBadRequest.With("info knows user_count, subscription_count and cache")
		}
	}
	return out, nil
}

// cached returns the data of the last event of a cache channel, nil for none.
func (d *Door) cached(ctx context.Context, n name) any {
	if !n.cache() {
		return nil
	}
	p := d.newest(ctx, d.spaces.channel(n), channel.Position{Offset: channel.MaxOffset}, nil)
	if p == nil {
		return nil
	}
	return map[string]any{"data": string(p.Data), "ttl": nil}
}

func (d *Door) channel(ctx context.Context, r *http.Request, _ []byte) (any, error) {
	n := name(r.PathValue("name"))
	if err := n.check(); err != nil {
		return nil, err
	}
	return d.about(ctx, n, r.URL.Query().Get("info"))
}

func (d *Door) channels(ctx context.Context, r *http.Request, _ []byte) (any, error) {
	q := r.URL.Query()
	prefix, info := name(q.Get("filter_by_prefix")), q.Get("info")
	if prefix != "" {
		if err := prefix.check(); err != nil {
			return nil, err
		}
	}
	all := make(map[name]map[string]any)
	for _, space := range []string{d.spaces.public, d.spaces.private} {
		found, err := d.hub.Channels(ctx, space+":"+string(prefix)+"**", maxListed)
		if err != nil {
			return nil, err
		}
		for of := range found {
			n, ok := d.spaces.name(of)
			// Those of users are occupied by who watches them, too.
			if !ok || n.user() != "" || len(all) == maxListed {
				continue
			}
			about := map[string]any{}
			if info != "" {
				if about, err = d.about(ctx, n, info); err != nil {
					return nil, err
				}
				delete(about, "occupied")
			}
			all[n] = about
		}
	}
	return map[string]any{"channels": all}, nil
}

func (d *Door) users(_ context.Context, r *http.Request, _ []byte) (any, error) {
	n := name(r.PathValue("name"))
	switch err := n.check(); {
	case err != nil:
		return nil, err
	case !n.presence():
		return nil, channel.ErrBadRequest.With("users are those of presence channels")
	}
	there, err := d.hub.PresenceUsers(d.spaces.channel(n))
	if err != nil {
		return nil, err
	}
	type user struct {
		ID string `json:"id"`
	}
	users := []user{}
	for _, id := range newPresence(there).Presence.IDs {
		users = append(users, user{id})
	}
	return map[string]any{"users": users}, nil
}

func (d *Door) terminate(ctx context.Context, r *http.Request, _ []byte) (any, error) {
	id := r.PathValue("user")
	if id == "" {
		return nil, channel.ErrBadRequest.With("name a user")
	}
	_, err := d.hub.Disconnect(ctx, hub.Target{User: id}, hub.DisconnectForceNoReconnect, nil)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, channel.ErrUnavailable.With("a node did not answer")
	}
	return struct{}{}, err
}
