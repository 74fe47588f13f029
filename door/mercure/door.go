package mercure

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"myelin/auth"
	"myelin/channel"
	"myelin/conversation"
	"myelin/hub"
	"myelin/observe"
)

// Path is where the hub is, MetadataPath where it says what it accepts.
const (
	Path         = ownPath
	MetadataPath = "/.well-known/oauth-protected-resource" + ownPath
)

// Options is what a Door is made of. Hub, Host, Verifier, Origins and the
// namespaces are required.
type Options struct {
	Hub      *hub.Hub
	Host     *conversation.Host
	Verifier *auth.Verifier
	Origins  *auth.Origins
	// Anonymous lets subscribers without a token in, to public updates.
	Anonymous bool
	// Public is the namespace of public updates, Private that of private ones.
	Public, Private string
	// Audience is what tokens are for, "" where that is not checked. Where it is
	// the hub's address, relative topics and patterns are relative to that.
	Audience string
	// Subscriptions has active subscriptions told and listed, for which there is
	// the namespace of the same name.
	Subscriptions bool
	Metrics       *observe.Metrics
	Logger        *slog.Logger
}

// Door answers the requests of publishers and subscribers.
type Door struct {
	opts    Options
	hub     *hub.Hub
	spaces  spaces
	home    home
	metrics *observe.Door
	nobody  auth.Identity
	ctx     context.Context //nolint:containedctx // what subscribers do ends with the door
}

// New returns a door. What its subscribers do ends with ctx.
func New(ctx context.Context, o Options) *Door {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Door{
		opts: o, hub: o.Hub, spaces: spaces{o.Public, o.Private}, home: homeOf(o.Audience),
		metrics: o.Metrics.Door("mercure"), ctx: ctx, nobody: auth.Identity{Anonymous: true},
	}
}

// ServeHTTP answers a request for Path.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Expose-Headers", lastEventID)
	var err error
	switch r.Method {
	case http.MethodGet:
		err = d.subscribe(w, r)
	case http.MethodPost:
		err = d.publish(w, r)
	default:
		err = conversation.MethodError("GET, POST")
	}
	if err != nil {
		d.metrics.Refused.Inc()
		d.refuse(w, r, err)
	}
}

// refuse answers a request that was not done.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	err = asRefused(err)
	e, ok := errors.AsType[*refused](err)
	if !ok {
		if channel.Public(err).Code == channel.CodeInternal && !isMethod(err) {
			d.opts.Logger.Error("a request of Mercure failed", observe.KeyErr, err)
		}
		if channel.Public(err).Code == channel.CodeBadRequest {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_request"`)
		}
		conversation.Refuse(w, err)
		return
	}
	challenge := `Bearer resource_metadata="` + origin(r) + MetadataPath + `"`
	body := map[string]string{"error_description": e.why}
	if e.code != "" {
		challenge += `, error="` + e.code + `"`
		body["error"] = e.code
	}
	h := w.Header()
	h.Set("WWW-Authenticate", challenge)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(e.status)
	_ = json.NewEncoder(w).Encode(body)
}

// asRefused returns an error as RFC 6750 says it, where it can be: who is kept
// out, and whom the backend keeps out, is refused like a token that does not
// allow it.
func asRefused(err error) error {
	if d, ok := errors.AsType[hub.Disconnect](err); ok {
		switch code := d.Code; {
		case code == hub.DisconnectInvalidToken.Code, code == hub.DisconnectExpired.Code:
			return invalidToken(d.Reason)
		case code < hub.DisconnectInvalidToken.Code, code >= 4000 && code < 4500:
			return channel.ErrUnavailable.With(d.Reason)
		}
		return insufficient(d.Reason)
	}
	if e := channel.Public(err); e.Code == channel.CodePermissionDenied || conversation.OfBackend(e) && !e.Temporary {
		return insufficient(e.Message)
	}
	return err
}

// origin is where a request says that the hub is.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func isMethod(err error) bool {
	_, ok := errors.AsType[conversation.MethodError](err)
	return ok
}

// ServeMetadata answers a request for MetadataPath (RFC 9728).
func (d *Door) ServeMetadata(w http.ResponseWriter, r *http.Request) {
	resource := d.opts.Audience
	if resource == "" {
		resource = origin(r) + Path
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"resource": resource, "bearer_methods_supported": []string{"header", "query"}, "mercure_cookie": true, "mercure_version": 8,
	})
}

// publish publishes one update, to all its topics.
func (d *Door) publish(w http.ResponseWriter, r *http.Request) error {
	q, err := conversation.Query(r)
	if err != nil {
		return err
	}
	b, err := d.identify(r, q)
	switch {
	case err != nil:
		return err
	case b.who == nil:
		return &refused{status: http.StatusUnauthorized, why: "publishing needs a token"}
	case b.byCookie && !d.own(r):
		return insufficient("a browser's cookie is good for pages of auth.allowed_origins only")
	}
	if err := d.hub.KeptOut(auth.AddressOf(r), b.who); err != nil {
		return err
	}
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/x-www-form-urlencoded") {
		return channel.ErrBadRequest.With("an update is application/x-www-form-urlencoded")
	}
	// A byte may be three in a form.
	raw, err := conversation.Body(w, r, 3*d.hub.Limits().MessageBytes+16*maxPattern)
	if err != nil {
		return err
	}
	d.metrics.BytesIn.Add(int64(len(raw)))
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return channel.ErrBadRequest.With("the body is not URL-encoded")
	}
	u, err := d.read(form, b.strict)
	if err != nil {
		return err
	}
	for _, topic := range u.topics {
		if !b.publish.matches(topic) {
			return insufficient("the token does not let its bearer publish to this topic")
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), publishTimeout)
	defer cancel()
	from := &author{door: d, who: b.who, request: r}
	defer from.done()
	id, err := d.send(ctx, u, from)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(id)) //nolint:gosec // base64, as text/plain
	return nil
}

// own reports whether a request with a cookie comes from a page that may make
// it. One that does not say so does not.
func (d *Door) own(r *http.Request) bool {
	if r.Header.Get("Origin") != "" {
		return d.opts.Origins.Allow(r)
	}
	from, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || from.Host == "" {
		return false
	}
	asked := &http.Request{Host: r.Host, Header: http.Header{"Origin": {from.Scheme + "://" + from.Host}}}
	return d.opts.Origins.Allow(asked)
}

// update is what a publisher sends.
type update struct {
	topics  []string
	private bool
	id      string
	text    string
	tags    map[string]string
}

// read reads the form of an update.
func (d *Door) read(form url.Values, strict bool) (*update, error) {
	u := &update{topics: form["topic"], private: form.Has("private"), id: form.Get("id"), text: form.Get("data"), tags: map[string]string{}}
	bad := channel.ErrBadRequest.With
	switch n := len(u.topics); {
	case n == 0:
		return nil, bad("topic is missing")
	case n > maxTopics || n > 1 && strict:
		d.opts.Metrics.Limit(observe.LimitTopics).Inc()
		return nil, bad("an update has one topic")
	}
	for _, topic := range u.topics {
		if err := d.spaces.check(topic); err != nil {
			return nil, err
		}
		if isOwn(topic) {
			return nil, &refused{http.StatusForbidden, "insufficient_scope", "topics below " + Path + " are the hub's own"}
		}
	}
	kind, retry := form.Get("type"), form.Get("retry")
	if err := checkFields(form); err != nil {
		return nil, err
	}
	switch {
	case len(u.id) > channel.MaxIDBytes || len(kind) > maxField || len(retry) > 9:
		return nil, channel.ErrTooLarge.With("id has at most 128 bytes, type 255 and retry 9 digits")
	case strings.HasPrefix(u.id, "#") || strings.ContainsAny(u.id, "\x00\r\n"):
		return nil, bad("an id does not begin with # and has neither line breaks nor NUL")
	case strings.ContainsAny(kind, "\r\n"):
		return nil, bad("type has a line break")
	case form.Has("retry") && !isDigits(retry):
		return nil, bad("retry is in milliseconds, digits only")
	}
	for tag, value := range map[string]string{tagType: kind, tagRetry: retry, tagID: u.id} {
		if value != "" {
			u.tags[tag] = value
		}
	}
	if len(u.topics) > 1 {
		if u.tags[tagUpdate] = u.id; u.id == "" {
			u.tags[tagUpdate] = hub.NewID()
		}
	}
	return u, nil
}

// checkFields returns nil for a form whose values are texts, each there once.
func checkFields(form url.Values) error {
	for name, values := range form {
		if len(values) > 1 && name != "topic" {
			return channel.ErrBadRequest.With("a field is there twice")
		}
		for _, v := range append(values, name) {
			if strings.ToValidUTF8(v, "") != v {
				return channel.ErrBadRequest.With("a field is not valid UTF-8")
			}
		}
	}
	return nil
}

// send publishes an update and returns its id, that of its first topic.
func (d *Door) send(ctx context.Context, u *update, from *author) (string, error) {
	data, isText := payload(u.text)
	if isText {
		u.tags[tagText] = "1"
	}
	id := ""
	for _, topic := range u.topics {
		name := d.spaces.channel(topic, u.private)
		ack, err := from.publish(ctx, &channel.PublishRequest{Channel: name, Data: data, Tags: u.tags, ID: u.id})
		if err != nil {
			return "", err
		}
		if id == "" {
			at := conversation.NewResumePoint()
			at.Move(name, ack.Position)
			id = idOf(at.Token())
		}
	}
	return id, nil
}
