package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"myelin/channel"
	"myelin/observe"
)

const (
	// sayAgain is how long the same thing is not said again.
	sayAgain = time.Minute
	// maxSaid is how many things are remembered as said.
	maxSaid = 512
)

// trouble is what can be wrong between two nodes.
type trouble string

// The troubles, in words for who can do something about them.
const (
	troubleCluster trouble = "the peer belongs to a cluster of another name; give all nodes the same cluster name, or remove it from the peers"
	troubleSecret  trouble = "the peer does not know the secret of the cluster, or only one of the two has TLS; give all nodes the same secret and TLS"
	troubleRefused trouble = "the peer refuses this node: their secrets differ, or another node of this one's name is there; give all nodes the same secret, and each its own name"
	troubleTLS     trouble = "no TLS connection with the peer: the certificates are not from the same authority, do not name the host, or only one of the two has TLS"
	troubleBroken  trouble = "the connection with the peer broke off before it had TLS; one of the two has too much to do, or only one of the two has TLS"
	troubleName    trouble = "another node has the same name; give each node its own, or stop the other"
	troubleTwins   trouble = "two nodes of the same name want to be in the cluster; the later one is kept out until the other is gone: give each node its own name"
	troubleNoPeer  trouble = "the peer cannot be reached; it is not running, or its address or a firewall is wrong"
)

// voice is what the embedded server says, said again in the log of this
// process: what an operator must act on in words for him, each at most once a
// minute; the rest as it comes. Nothing of it is lost on level debug.
type voice struct {
	log    *slog.Logger
	hushed atomic.Bool
	// diskFailed says that the server stopped to store because of its disk.
	diskFailed atomic.Bool
	// poke is called when a connection between nodes came or went.
	poke atomic.Pointer[func()]
	mu   struct {
		sync.Mutex
		said map[string]time.Time
		// refusals are the last troubles by the address of the peer.
		refusals map[string]refusal
		gaveUp   string
	}
}

// refusal is a trouble and when it was last had.
type refusal struct {
	trouble trouble
	at      time.Time
}

func newVoice(o *Options) *voice {
	v := &voice{log: o.Logger.With(observe.KeyComponent, "mesh")}
	v.mu.said = make(map[string]time.Time)
	v.mu.refusals = make(map[string]refusal)
	return v
}

// hush makes what is said from here on go to level debug: a server that is
// stopping complains a lot.
func (v *voice) hush() { v.hushed.Store(true) }

// fatal returns what made the server give up, nil when it has not.
func (v *voice) fatal() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.mu.gaveUp == "" {
		return nil
	}
	return channel.ErrUnavailable.With("the embedded NATS server gave up: " + v.mu.gaveUp)
}

// Noticef is for what is normal.
func (v *voice) Noticef(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	v.log.Debug("the NATS server says", observe.KeyReason, text)
	if poke := v.poke.Load(); poke != nil && strings.Contains(text, " - rid:") {
		(*poke)()
	}
	v.notice(text)
}

// Warnf is for what may become a problem.
func (v *voice) Warnf(format string, args ...any) { v.complain(slog.LevelWarn, format, args...) }

// Errorf is for problems.
func (v *voice) Errorf(format string, args ...any) { v.complain(slog.LevelError, format, args...) }

// Fatalf is for what the server cannot live with. Ours returns: the server is
// then stopped by who started it.
func (v *voice) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	v.mu.Lock()
	if v.mu.gaveUp == "" {
		v.mu.gaveUp = text
	}
	v.mu.Unlock()
	v.log.Error("the NATS server gives up", observe.KeyReason, text)
}

// Debugf is not used.
func (v *voice) Debugf(string, ...any) {}

// Tracef is not used.
func (v *voice) Tracef(string, ...any) {}

// ofRoute takes what is said of a connection between nodes apart.
var ofRoute = regexp.MustCompile(`^(\S+) - rid:\d+ - (.*)$`)

// ofDial takes apart what is said of a connection that did not come about.
var ofDial = regexp.MustCompile(`^Error trying to connect to route \(attempt \d+\): (?:dial tcp (\S+): |lookup for host "([^"]+)")`)

// hear finds the trouble in what the server says, and who it is with.
func hear(text string) (what trouble, remote string) {
	if m := ofDial.FindStringSubmatch(text); m != nil {
		return troubleNoPeer, m[1] + m[2]
	}
	m := ofRoute.FindStringSubmatch(text)
	if m == nil {
		return "", ""
	}
	remote, text = m[1], m[2]
	switch {
	case strings.Contains(text, "cluster name"), strings.Contains(text, "Cluster Name Conflict"):
		return troubleCluster, remote
	case strings.Contains(text, "Route Error 'Authorization Violation'"):
		return troubleRefused, remote
	case strings.HasPrefix(text, "authentication error"):
		return troubleSecret, remote
	case strings.HasPrefix(text, "TLS route handshake error"):
		// Only what TLS itself says is said of certificates: on machines that are
		// busy a handshake takes too long, and one side hangs up.
		if !strings.Contains(text, "tls: ") && !strings.Contains(text, "x509: ") {
			return troubleBroken, remote
		}
		return troubleTLS, remote
	case strings.HasPrefix(text, "Remote server has a duplicate name"), strings.Contains(text, "Duplicate Server Name"):
		return troubleName, remote
	}
	return "", remote
}

// notice looks for troubles that the server takes for normal.
func (v *voice) notice(text string) {
	if what, remote := hear(text); what != "" {
		v.suffer(what, remote, text)
	}
}

func (v *voice) complain(level slog.Level, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	v.noticeDisk(text)
	what, remote := hear(text)
	switch {
	case what != "":
		v.suffer(what, remote, text)
	case v.hushed.Load(), idle.MatchString(text):
		v.log.Debug("the NATS server says", observe.KeyReason, text)
	case v.first(digits.ReplaceAllString(text, "#")):
		v.log.Log(context.Background(), level, "the NATS server says", observe.KeyReason, text)
	}
}

// idle is what says nothing that matters here, or that Ready says better. What
// cannot be parsed on a connection that is being closed would name subjects,
// and with them channels.
var idle = regexp.MustCompile(`^Waiting for routing|^Plaintext passwords|^JetStream has not established contact|Parse Error: '`)

// digits are what makes repeated complaints differ.
var digits = regexp.MustCompile(`[0-9]+`)

// suffer notes a trouble and says it where it is due.
func (v *voice) suffer(what trouble, remote, text string) {
	passing := what == troubleNoPeer || what == troubleBroken
	if !passing {
		v.note(remote, refusal{what, time.Now()})
	}
	host := remote
	if i := strings.LastIndexByte(remote, ':'); i > 0 && what != troubleNoPeer {
		host = remote[:i]
	}
	if v.hushed.Load() || !v.first(string(what)+host) {
		return
	}
	level := slog.LevelError
	if passing {
		// Nodes that start one after the other, or slowly, are no error.
		level = slog.LevelWarn
	}
	v.log.Log(context.Background(), level, "trouble between nodes", observe.KeyRemote, remote, observe.KeyReason, string(what), observe.KeyErr, text)
}

// note remembers a refusal. Peers that come in have another port each time, so
// old ones make room.
func (v *voice) note(remote string, r refusal) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.mu.refusals) >= maxSaid {
		maps.DeleteFunc(v.mu.refusals, func(_ string, old refusal) bool { return r.at.Sub(old.at) > hopelessAfter })
	}
	if _, known := v.mu.refusals[remote]; known || len(v.mu.refusals) < maxSaid {
		v.mu.refusals[remote] = r
	}
}

// first reports whether something was not said in the last minute.
func (v *voice) first(key string) bool {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if at, ok := v.mu.said[key]; ok && now.Sub(at) < sayAgain {
		return false
	}
	for old, at := range v.mu.said {
		if now.Sub(at) >= sayAgain {
			delete(v.mu.said, old)
		}
	}
	if len(v.mu.said) >= maxSaid {
		return false
	}
	v.mu.said[key] = now
	return true
}

// refused returns the last trouble with each address.
func (v *voice) refused() map[string]refusal {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.mu.refusals)
}
