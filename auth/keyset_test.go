package auth_test

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"

	"myelin/auth"
)

func accepted(t *testing.T, v *auth.Verifier, token string) {
	t.Helper()
	if _, err := v.Connection(token); err != nil {
		t.Errorf("a good token was refused: %v", err)
	}
}

func isUnavailable(t *testing.T, v *auth.Verifier, token string) {
	t.Helper()
	_, err := v.Connection(token)
	refused(t, err, auth.ErrUnavailable, auth.ReasonUnavailable, token, "try again")
}

func TestKeySetServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPublishedKey(t, "a"), newPublishedKey(t, "b")
		p := &publisher{}
		p.publish(200, keySetBody(t, a.public, b.public))
		v := newVerifier(t, p.options())
		synctest.Wait()
		accepted(t, v, a.token(t))
		accepted(t, v, b.token(t))
		if p.fetches.Load() != 1 {
			t.Errorf("%d fetches for two known keys", p.fetches.Load())
		}
		if !v.Enabled() || len(v.Algorithms()) != 10 {
			t.Errorf("Enabled %v, Algorithms %v", v.Enabled(), v.Algorithms())
		}
	})
}

// The publisher never answers. If any request waited for it, this test would
// never end: nothing here lets time pass.
func TestHangingKeySetBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPublishedKey(t, "a")
		p := &publisher{}
		release := make(chan struct{})
		p.do(func(*http.Request) (*http.Response, error) {
			<-release
			return nil, errors.New("at last")
		})
		v := newVerifier(t, p.options())
		synctest.Wait()
		if p.fetches.Load() != 1 || v.Ready() {
			t.Fatalf("%d fetches, ready %v", p.fetches.Load(), v.Ready())
		}
		for range 100 {
			isUnavailable(t, v, a.token(t))
		}
		if p.fetches.Load() != 1 {
			t.Errorf("%d fetches at the same time", p.fetches.Load())
		}
		close(release)
	})
}

func TestHangingKeySetIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPublishedKey(t, "a")
		p := &publisher{}
		p.hang()
		v := newVerifier(t, p.options())
		synctest.Wait()
		p.publish(200, keySetBody(t, a.public))
		time.Sleep(12 * time.Second)
		synctest.Wait()
		accepted(t, v, a.token(t))
	})
}

func TestStartsWithoutKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPublishedKey(t, "a")
		p := &publisher{}
		p.publish(503, "starting")
		v := newVerifier(t, p.options())
		synctest.Wait()
		if v.Ready() {
			t.Error("ready without a key")
		}
		isUnavailable(t, v, a.token(t))
		noID := sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, newEd25519(t))}), obj{})
		isUnavailable(t, v, noID)

		// It is tried again after about 1, 2, 4, 8, 16 and from then on 30
		// seconds, by nobody's request.
		for _, upTo := range []struct{ seconds, fetches int }{{2, 2}, {4, 3}, {8, 4}, {17, 5}, {34, 6}, {67, 7}, {100, 8}} {
			time.Sleep(time.Until(time.Unix(bubbleStart, 0).Add(time.Duration(upTo.seconds) * time.Second)))
			synctest.Wait()
			if got := int(p.fetches.Load()); got != upTo.fetches {
				t.Errorf("%d fetches after %d seconds, want %d", got, upTo.seconds, upTo.fetches)
			}
		}
		p.publish(200, keySetBody(t, a.public))
		time.Sleep(34 * time.Second)
		synctest.Wait()
		accepted(t, v, a.token(t))
	})
}

func TestStaleKeysServeOnError(t *testing.T) {
	a := newPublishedKey(t, "a")
	for name, bad := range map[string]func(*http.Request) (*http.Response, error){
		"unreachable": func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") },
		"status":      respond(500, "{}"),
		"not found":   respond(404, keySetBody(t, newPublishedKey(t, "z").public)),
		"no content":  respond(204, ""),
		"empty":       respond(200, ""),
		"HTML":        respond(200, "<html>"),
		"null":        respond(200, "null"),
		"no keys":     respond(200, `{}`),
		"empty keys":  respond(200, `{"keys":[]}`),
		"keys object": respond(200, `{"keys":{}}`),
		"no good key": respond(200, `{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA"},1,null]}`),
		"truncated":   respond(200, keySetBody(t, a.public)[:40]),
		"oversize":    respond(200, `{"keys":[`+strings.Repeat(" ", 1<<20)+`]}`),
		"endless":     endless,
		"dies":        dies,
		"many keys":   respond(200, `{"keys":[`+strings.Repeat(`{},`, 256)+`{}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				p := &publisher{}
				p.publish(200, keySetBody(t, a.public))
				o := p.options()
				o.JWKSURL = "https://keys.example/jwks.json?apikey=hunter2"
				o.Logger = slog.New(slog.NewTextHandler(&log, nil))
				v := newVerifier(t, o)
				synctest.Wait()
				accepted(t, v, a.token(t))
				p.do(bad)
				time.Sleep(17 * time.Minute)
				synctest.Wait()
				if p.fetches.Load() < 3 {
					t.Errorf("only %d fetches", p.fetches.Load())
				}
				accepted(t, v, a.token(t))
				if err := v.Close(); err != nil {
					t.Error(err)
				}
				if n := strings.Count(log.String(), "key set not loaded"); n != 1 {
					t.Errorf("the failure is logged %d times:\n%s", n, &log)
				}
				if strings.Contains(log.String(), "hunter2") {
					t.Errorf("the log tells the address:\n%s", &log)
				}
			})
		})
	}
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPublishedKey(t, "a"), newPublishedKey(t, "b")
		p := &publisher{}
		p.publish(200, keySetBody(t, a.public))
		v := newVerifier(t, p.options())
		time.Sleep(time.Minute)
		p.publish(200, keySetBody(t, b.public))
		accepted(t, v, a.token(t))
		isUnavailable(t, v, b.token(t)) // and asks for the fetch that finds it
		synctest.Wait()
		accepted(t, v, b.token(t))
		if p.fetches.Load() != 2 {
			t.Errorf("%d fetches, want 2", p.fetches.Load())
		}
		old := a.token(t)
		isUnavailable(t, v, old)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		_, err := v.Connection(old)
		refused(t, err, auth.ErrTokenInvalid, auth.ReasonKey, old, `signed with key "a", which the key set does not have`)
	})
}

func TestRefreshesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPublishedKey(t, "a"), newPublishedKey(t, "b")
		p := &publisher{}
		p.publish(200, keySetBody(t, a.public))
		v := newVerifier(t, p.options())
		time.Sleep(15*time.Minute - time.Second)
		p.publish(200, keySetBody(t, a.public, b.public))
		if p.fetches.Load() != 1 {
			t.Errorf("%d fetches before it was time", p.fetches.Load())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		accepted(t, v, b.token(t))
		if p.fetches.Load() != 2 {
			t.Errorf("%d fetches, want 2", p.fetches.Load())
		}
	})
}

// A storm of tokens with key ids that do not exist, for ten minutes: the
// publisher sees one fetch per interval, and good tokens never notice.
func TestOneFetchPerInterval(t *testing.T) {
	for name, healthy := range map[string]bool{"healthy": true, "broken": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newPublishedKey(t, "a")
				good := a.token(t)
				var times []time.Time
				p := &publisher{}
				p.publish(200, keySetBody(t, a.public))
				o := p.options()
				v := newVerifier(t, o)
				synctest.Wait()
				p.do(func(r *http.Request) (*http.Response, error) {
					times = append(times, time.Now())
					if !healthy {
						return nil, errors.New("no route")
					}
					return respond(200, keySetBody(t, a.public))(r)
				})
				for i := range 1200 {
					for j := range 3 {
						if _, err := v.Connection(unknownKey(fmt.Sprint("k", i/2*3+j))); err == nil {
							t.Fatal("let in")
						}
					}
					accepted(t, v, good)
					time.Sleep(500 * time.Millisecond)
				}
				if err := v.Close(); err != nil {
					t.Error(err)
				}
				if healthy && (len(times) < 18 || len(times) > 20) {
					t.Errorf("%d fetches in ten minutes, want one per 30 seconds", len(times))
				}
				for i := range times {
					if i > 0 && healthy && times[i].Sub(times[i-1]) < o.JWKSInterval {
						t.Errorf("fetches %v apart", times[i].Sub(times[i-1]))
					}
				}
				if !healthy && len(times) > 27 {
					t.Errorf("%d fetches of a broken publisher: the storm drives them", len(times))
				}
			})
		})
	}
}

// A key id that is known to be absent is refused for good, and costs no fetch,
// until it may be looked for again.
func TestAbsentKeyID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPublishedKey(t, "a"), newPublishedKey(t, "b")
		p := &publisher{}
		p.publish(200, keySetBody(t, a.public))
		v := newVerifier(t, p.options())
		time.Sleep(time.Minute)
		token := b.token(t)
		isUnavailable(t, v, token)
		synctest.Wait()
		for range 29 {
			_, err := v.Connection(token)
			refused(t, err, auth.ErrTokenInvalid, auth.ReasonKey, token, `"b"`)
			time.Sleep(time.Second)
		}
		if p.fetches.Load() != 2 {
			t.Errorf("%d fetches, want 2", p.fetches.Load())
		}
		p.publish(200, keySetBody(t, a.public, b.public))
		time.Sleep(2 * time.Second)
		isUnavailable(t, v, token)
		synctest.Wait()
		accepted(t, v, token)
	})
}

// A key that appears while a fetch is under way is found by the next one: the
// fetch may have begun before it was published, so it proves nothing.
func TestKeyPublishedDuringFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := newPublishedKey(t, "a"), newPublishedKey(t, "b"), newPublishedKey(t, "c")
		p := &publisher{}
		p.publish(200, keySetBody(t, a.public))
		v := newVerifier(t, p.options())
		time.Sleep(time.Minute)
		release := make(chan struct{})
		p.do(func(r *http.Request) (*http.Response, error) {
			<-release
			return respond(200, keySetBody(t, a.public))(r)
		})
		isUnavailable(t, v, b.token(t))
		synctest.Wait()
		isUnavailable(t, v, c.token(t))
		p.publish(200, keySetBody(t, a.public, c.public))
		close(release)
		synctest.Wait()
		_, err := v.Connection(b.token(t))
		refused(t, err, auth.ErrTokenInvalid, auth.ReasonKey, "")
		isUnavailable(t, v, c.token(t))
		time.Sleep(31 * time.Second)
		synctest.Wait()
		accepted(t, v, c.token(t))
	})
}

// More key ids than the notes have room for: nothing breaks, and a key that
// comes is found.
func TestNotesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPublishedKey(t, "a"), newPublishedKey(t, "b")
		p := &publisher{}
		p.publish(200, keySetBody(t, a.public))
		v := newVerifier(t, p.options())
		time.Sleep(time.Minute)
		for i := range 3000 {
			isUnavailable(t, v, unknownKey(fmt.Sprint(i)))
		}
		if pending, _ := v.Notes(); pending > 256 {
			t.Errorf("%d key ids are being looked for, at most 256 are allowed", pending)
		}
		synctest.Wait()
		for i := range 20 {
			for j := range 256 {
				if _, err := v.Connection(unknownKey(fmt.Sprint(i, j))); err == nil {
					t.Fatal("let in")
				}
			}
			v.Settle()
		}
		if _, absent := v.Notes(); absent != 1024 {
			t.Errorf("%d key ids are known to be absent, want 1024", absent)
		}
		p.publish(200, keySetBody(t, a.public, b.public))
		isUnavailable(t, v, b.token(t))
		time.Sleep(31 * time.Second)
		synctest.Wait()
		accepted(t, v, b.token(t))
		if _, absent := v.Notes(); absent > 256 {
			t.Errorf("%d key ids are still held as absent", absent)
		}
	})
}

func TestKeyIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newEC(t, elliptic.P256())
		rsaKey := newRSA(t, 2048)
		set := []jwkset.JWKMarshal{jwk(t, key, "", jwkset.AlgES256), jwk(t, newEC(t, elliptic.P384()), "wide", ""), jwk(t, rsaKey, "same", jwkset.AlgPS256)}
		for range 4 {
			set = append(set, jwk(t, newEd25519(t), "same", ""))
		}
		for range 2 {
			set = append(set, jwk(t, newEd25519(t), "", ""))
		}
		p := &publisher{}
		p.publish(200, keySetBody(t, set...))
		v := newVerifier(t, p.options())
		synctest.Wait()
		accepted(t, v, sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, key)}), obj{}))
		accepted(t, v, sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, rsaKey), KeyID: "same", Algorithm: "PS256"}), obj{}))

		token := sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, rsaKey), KeyID: "same"}), obj{})
		_, err := v.Connection(token)
		refused(t, err, auth.ErrTokenInvalid, auth.ReasonAlgorithm, token, `signed with "RS256", but key "same" is for PS256`)
		token = sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, key), KeyID: "wide"}), obj{})
		_, err = v.Connection(token)
		refused(t, err, auth.ErrTokenInvalid, auth.ReasonAlgorithm, token, `signed with "ES256", but key "wide" is an ECDSA P-384 key`)
		token = sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, newEd25519(t))}), obj{})
		_, err = v.Connection(token)
		refused(t, err, auth.ErrTokenInvalid, auth.ReasonKey, token, `no "kid" in its header, and the key set has 5 keys for EdDSA`)
		token = sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, newEd25519(t)), KeyID: "same"}), obj{})
		_, err = v.Connection(token)
		refused(t, err, auth.ErrTokenInvalid, auth.ReasonSignature, token, "does not match any key the server has for EdDSA")
	})
}

// Static keys beside a key set: both serve, and a token that a static key
// checks asks nothing of the publisher, whatever key id it bears.
func TestStaticKeysBesideKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPublishedKey(t, "a"), newPublishedKey(t, "b")
		own := newEC(t, elliptic.P256())
		p := &publisher{}
		p.publish(503, "")
		o := p.options()
		o.HMACSecret, o.PublicKeyPEM = secret, publicPEM(t, own)
		v := newVerifier(t, o)
		synctest.Wait()
		static := sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, own), KeyID: "mine"}), obj{})
		accepted(t, v, static)
		accepted(t, v, hmacToken(t, obj{}))
		isUnavailable(t, v, a.token(t))
		p.publish(200, keySetBody(t, a.public))
		time.Sleep(time.Minute)
		synctest.Wait()
		before := p.fetches.Load()
		for range 10 {
			accepted(t, v, static)
			accepted(t, v, a.token(t))
			time.Sleep(20 * time.Second)
		}
		if p.fetches.Load() != before {
			t.Error("a token that a static key checks caused a fetch")
		}
		noID := sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, newEC(t, elliptic.P256()))}), obj{})
		_, err := v.Connection(noID)
		refused(t, err, auth.ErrTokenInvalid, auth.ReasonSignature, noID, "any key the server has for ES256")
		accepted(t, v, sign(t, newSigner(t, auth.SignerOptions{PrivateKeyPEM: privatePEM(t, own)}), obj{}))
		isUnavailable(t, v, b.token(t))
	})
}

func TestCloseInterruptsFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPublishedKey(t, "a")
		p := &publisher{}
		p.publish(200, keySetBody(t, a.public))
		v := newVerifier(t, p.options())
		time.Sleep(time.Minute)
		p.hang()
		isUnavailable(t, v, newPublishedKey(t, "b").token(t))
		synctest.Wait()
		for range 2 {
			if err := v.Close(); err != nil {
				t.Error(err)
			}
		}
		if p.fetches.Load() != 2 {
			t.Errorf("%d fetches, want 2", p.fetches.Load())
		}
		accepted(t, v, a.token(t))
		isUnavailable(t, v, newPublishedKey(t, "c").token(t))
		time.Sleep(time.Hour)
		if p.fetches.Load() != 2 {
			t.Error("fetched after Close")
		}
	})
}

func TestKeySetUnderConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPublishedKey(t, "a"), newPublishedKey(t, "b")
		p := &publisher{}
		p.publish(200, keySetBody(t, a.public))
		v := newVerifier(t, p.options())
		synctest.Wait()
		tokens := []string{a.token(t), b.token(t), newPublishedKey(t, "c").token(t)}
		var wait sync.WaitGroup
		for i := range 8 {
			wait.Go(func() {
				for j := range 50 {
					_, err := v.Connection(tokens[(i+j)%len(tokens)])
					if (i+j)%len(tokens) == 0 && err != nil {
						t.Error(err)
					}
					time.Sleep(time.Duration(i+1) * time.Second)
				}
			})
		}
		time.Sleep(time.Minute)
		p.publish(200, keySetBody(t, a.public, b.public))
		wait.Wait()
		accepted(t, v, tokens[1])
	})
}
