package conversation

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"

	"myelin/channel"
	"myelin/hub"
	"myelin/protocol"
)

// wishes is how a client wants to be served, which it says in the data of its
// subscribe request, because that is what every SDK lets through:
//
//	{"myelin": {"rate": 10, "since": "last"}}
//
// Data without the member "myelin" is the application's own.
type wishes struct {
	// Rate asks for what is newest, at most so many times a second.
	Rate float64 `json:"rate,omitempty"`
	// Since is where to begin, where nothing is recovered: "last" is with the
	// last publication, an offset after it.
	Since since `json:"since,omitzero"`
}

// since is a place to begin.
type since struct {
	last   bool
	offset *uint64
}

// sinceLast is the word for the last publication.
const sinceLast = "last"

var errSince = channel.ErrBadRequest.With(`since is "last" or an offset`)

// UnmarshalJSON reads "last" or an offset.
func (s *since) UnmarshalJSON(b []byte) error {
	if string(b) == strconv.Quote(sinceLast) {
		s.last = true
		return nil
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil || n > channel.MaxOffset {
		return errSince
	}
	s.offset = &n
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (s since) MarshalJSON() ([]byte, error) {
	if s.offset != nil {
		return strconv.AppendUint(nil, *s.offset, 10), nil
	}
	return strconv.AppendQuote(nil, sinceLast), nil
}

// wishMember is the member of the data that is ours.
const wishMember = "myelin"

// wishesOf reads the data of a subscribe request, nil where it has no wishes.
func wishesOf(data []byte) (*wishes, error) {
	if b := bytes.TrimLeft(data, " \t\r\n"); len(b) == 0 || b[0] != '{' {
		return nil, nil //nolint:nilnil // to wish for nothing is valid
	}
	var all map[string]json.RawMessage
	_ = json.Unmarshal(data, &all) // it may be anything of the application's
	if all[wishMember] == nil {
		return nil, nil //nolint:nilnil // as above
	}
	d := json.NewDecoder(bytes.NewReader(all[wishMember]))
	d.DisallowUnknownFields()
	var w *wishes
	if err := d.Decode(&w); err != nil {
		return nil, channel.ErrBadRequest.With(`"myelin" in the data of a subscribe request takes {"rate","since"}: ` + err.Error())
	}
	if w == nil {
		return nil, channel.ErrBadRequest.With(`"myelin" in the data of a subscribe request takes {"rate","since"}, not null`)
	}
	return w, nil
}

// apply makes them part of a request. Who comes back recovers, wherever it
// once wanted to begin.
func (w *wishes) apply(r *hub.SubscribeRequest) {
	if w == nil {
		return
	}
	r.Rate = w.Rate
	if w.Since == (since{}) {
		return
	}
	r.Recoverable = true
	switch {
	case r.Recover:
	case w.Since.last:
		r.Last = true
	default:
		r.Recover, r.Since = true, channel.Position{Offset: *w.Since.offset}
	}
}

// granted says what came of them, nil for who had none. A token's own word to
// the client goes before.
func (w *wishes) granted(sn *hub.Subscription) []byte {
	if w == nil || len(sn.Data) > 0 {
		return sn.Data
	}
	b, err := json.Marshal(map[string]*wishes{wishMember: {Rate: sn.Rate, Since: w.Since}})
	if err != nil {
		return nil
	}
	return b
}

// The parameters by which clients that are too simple for a connect request
// say the same, for all their channels.
const (
	paramRate  = "rate"
	paramSince = "since"
)

// wishesByQuery makes the data of subscribe requests from a query, nil where it
// has no wishes.
func wishesByQuery(q url.Values) (protocol.Raw, error) {
	if !q.Has(paramRate) && !q.Has(paramSince) {
		return nil, nil
	}
	var w wishes
	if text := q.Get(paramRate); q.Has(paramRate) {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil || rate <= 0 {
			return nil, channel.ErrBadRequest.With("rate is a number of times a second")
		}
		w.Rate = rate
	}
	if text := q.Get(paramSince); text == sinceLast {
		w.Since.last = true
	} else if q.Has(paramSince) {
		if err := w.Since.UnmarshalJSON([]byte(text)); err != nil {
			return nil, err
		}
	}
	b, err := json.Marshal(map[string]wishes{wishMember: w})
	if err != nil {
		return nil, channel.ErrBadRequest.With("rate is a number of times a second")
	}
	return b, nil
}
