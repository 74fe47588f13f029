package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxSetBytes    = 1 << 20
	maxPendingIDs  = 256
	maxAbsentIDs   = 1024
	fetchTimeout   = 10 * time.Second
	firstRetry     = time.Second
	maxRedirects   = 3
	maxHeaderBytes = 64 << 10
)

// remoteKeys keeps a key set fetched from a URL. Requests only ever read the
// newest set, and leave a note of what they missed; one goroutine, run, does
// all fetching.
type remoteKeys struct {
	url     string
	client  *http.Client
	log     *slog.Logger
	refresh time.Duration // between fetches when all is well
	spacing time.Duration // least time from the last fetch to one that requests cause

	set    atomic.Pointer[keySet] // nil until the first success
	wake   chan struct{}          // holds one note that a request missed a key
	cancel context.CancelFunc
	done   chan struct{}

	mu struct {
		sync.Mutex
		pending map[string]struct{}  // key ids no fetch begun after them has answered
		absent  map[string]time.Time // key ids known not to exist, until then
	}
}

func newRemoteKeys(o *Options) *remoteKeys {
	ctx, cancel := context.WithCancel(context.Background())
	k := &remoteKeys{
		url:     o.JWKSURL,
		client:  fetchClient(o.HTTPClient),
		log:     o.Logger,
		refresh: o.JWKSRefresh,
		spacing: o.JWKSInterval,
		wake:    make(chan struct{}, 1),
		cancel:  cancel,
		done:    make(chan struct{}),
	}
	k.mu.pending = make(map[string]struct{})
	k.mu.absent = make(map[string]time.Time)
	go k.run(ctx, o.HTTPClient == nil)
	return k
}

// fetchClient copies the client given, or makes one. Redirects are few and
// never leave TLS, because whoever answers decides who may sign tokens.
func fetchClient(given *http.Client) *http.Client {
	client := &http.Client{}
	if given != nil {
		*client = *given
	} else {
		client.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           1,
			IdleConnTimeout:        fetchTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
		}
	}
	if client.CheckRedirect == nil {
		client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("more than %d redirects", maxRedirects)
			case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
				return errors.New("a redirect leads from https to " + r.URL.Scheme)
			}
			return nil
		}
	}
	return client
}

func (k *remoteKeys) close() {
	k.cancel()
	<-k.done
}

// find returns the keys that may check a token, without ever waiting. A key id
// it does not know it has looked for.
func (k *remoteKeys) find(id, alg string) ([]*verifyKey, error) {
	set := k.set.Load()
	switch {
	case set == nil:
		return nil, unavailable("the key set is not loaded yet, try again")
	case id == "":
		return set.withoutID(alg)
	}
	all, known := set.byID[id]
	if !known {
		return nil, k.missing(id)
	}
	keys := accepting(all, alg)
	if len(keys) == 0 {
		return nil, invalid(ReasonAlgorithm, "token is signed with %s, but key %s is %s", quote(alg), quote(id), describe(all))
	}
	return keys, nil
}

// known is find for a token that other keys may check as well: it looks for
// nothing.
func (k *remoteKeys) known(id, alg string) []*verifyKey {
	set := k.set.Load()
	switch {
	case set == nil:
		return nil
	case id == "":
		keys, err := set.withoutID(alg)
		if err != nil {
			return nil
		}
		return keys
	}
	return accepting(set.byID[id], alg)
}

func accepting(keys []*verifyKey, alg string) []*verifyKey {
	var fit []*verifyKey
	for _, key := range keys {
		if key.accepts(alg) {
			fit = append(fit, key)
		}
	}
	return fit
}

func describe(keys []*verifyKey) string {
	if keys[0].alg != "" {
		return "for " + keys[0].alg
	}
	return "an " + keys[0].kind.String() + " key"
}

// withoutID returns the keys for a token that names none.
func (s *keySet) withoutID(alg string) ([]*verifyKey, error) {
	switch keys := accepting(s.keys, alg); {
	case len(keys) == 0:
		return nil, invalid(ReasonAlgorithm, "token is signed with %s, for which the key set has no key", quote(alg))
	case len(keys) > maxWithoutKeyID:
		return nil, invalid(ReasonKey, `token has no "kid" in its header, and the key set has %d keys for %s`, len(keys), alg)
	default:
		return keys, nil
	}
}

// missing answers for a key id that the newest set does not have. Whether it
// is new or nonsense only a later fetch can tell: until then the token may be
// good. Both notes are bounded; an id for which there is no room is only ever
// answered as unavailable, and found all the same when a fetch brings it.
func (k *remoteKeys) missing(id string) error {
	k.mu.Lock()
	until, absent := k.mu.absent[id]
	absent = absent && time.Now().Before(until)
	if !absent && len(k.mu.pending) < maxPendingIDs {
		k.mu.pending[id] = struct{}{}
	}
	k.mu.Unlock()
	if absent {
		return invalid(ReasonKey, "token is signed with key %s, which the key set does not have", quote(id))
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return unavailable("token is signed with key %s, which is being looked for, try again", quote(id))
}

// run fetches when it is time, until it is told to stop.
func (k *remoteKeys) run(ctx context.Context, ownClient bool) {
	defer close(k.done)
	if ownClient {
		defer k.client.CloseIdleConnections()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last, next time.Time
	var retry time.Duration
	failure := "not loaded yet"
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
			if due := last.Add(k.spacing); !last.IsZero() && due.Before(next) {
				next = due
				timer.Reset(time.Until(next))
			}
			continue
		case <-timer.C:
		}
		err := k.load(ctx)
		if ctx.Err() != nil {
			return
		}
		failure = k.report(err, failure)
		last = time.Now()
		if err == nil {
			retry = 0
			next = last.Add(later(k.refresh))
		} else {
			retry = min(max(firstRetry, 2*retry), k.spacing)
			next = last.Add(later(retry))
		}
		timer.Reset(time.Until(next))
	}
}

// later adds up to a tenth, so that many servers started together do not ask
// together for ever.
func later(d time.Duration) time.Duration {
	return d + rand.N(d/10+1)
}

// report logs a change of fortune, and stays quiet while nothing changes.
func (k *remoteKeys) report(err error, before string) string {
	switch {
	case err == nil && before != "":
		k.log.Info("key set loaded", "keys", len(k.set.Load().keys))
	case err != nil && err.Error() != before:
		k.log.Warn("key set not loaded, the keys known so far stay in use", "error", err)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// load replaces the set by what the URL has now.
func (k *remoteKeys) load(ctx context.Context) error {
	k.mu.Lock()
	asked := slices.Collect(maps.Keys(k.mu.pending))
	k.mu.Unlock()

	body, err := k.fetch(ctx)
	if err != nil {
		return err
	}
	set, skipped, err := parseKeySet(body)
	for _, reason := range skipped {
		k.log.Debug("key left out of the key set", "reason", reason)
	}
	if err != nil {
		return err
	}
	k.set.Store(set)
	k.settle(asked, set)
	return nil
}

// settle answers the key ids that were asked for before the fetch began.
func (k *remoteKeys) settle(asked []string, set *keySet) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.mu.absent, func(_ string, until time.Time) bool { return !now.Before(until) })
	for _, id := range asked {
		delete(k.mu.pending, id)
		if _, ok := set.byID[id]; !ok && len(k.mu.absent) < maxAbsentIDs {
			k.mu.absent[id] = now.Add(k.spacing)
		}
	}
}

func (k *remoteKeys) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, http.NoBody)
	if err != nil {
		return nil, withoutURL(err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := k.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered with status %d, want 200", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSetBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case len(body) > maxSetBytes:
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxSetBytes)
	}
	return body, nil
}

// withoutURL drops the address from an HTTP error, which may hold a secret.
func withoutURL(err error) error {
	if of, ok := errors.AsType[*url.Error](err); ok {
		return of.Err
	}
	return err
}
