package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"myelin/channel"
	"myelin/config"
	"myelin/observe"
)

const (
	// topicTerms is where a node answers what it keeps to.
	topicTerms = "server.terms"
	// termsTimeout is how long another node may take to answer.
	termsTimeout = 5 * time.Second
)

// terms is what all nodes of a cluster have to agree on: what each channel
// keeps and promises, and to whom.
type terms struct {
	// Namespaces holds a hash of what each of them says.
	Namespaces map[string]string `json:"namespaces"`
	Replicas   int               `json:"replicas"`
	Stores     int               `json:"storage_nodes"`
	Message    int               `json:"message"`
}

func termsOf(c *config.Config) terms {
	t := terms{Replicas: c.Replicas(), Stores: c.Cluster.StorageNodes, Message: int(c.Limits.Message), Namespaces: make(map[string]string)}
	for name, n := range c.Namespaces {
		n.Durability = c.Survives(n)
		sum := sha256.Sum256(fmt.Appendf(nil, "%+v", n))
		t.Namespaces[name] = hex.EncodeToString(sum[:8])
	}
	if c.Lifecycle.On() {
		sum := sha256.Sum256(fmt.Appendf(nil, "%+v", c.Lifecycle))
		t.Namespaces[lifecycleSpace] = hex.EncodeToString(sum[:8])
	}
	return t
}

// differences returns the keys whose values are not the same here and there,
// sorted.
func (t *terms) differences(other *terms) []string {
	var keys []string
	for name, sum := range t.Namespaces {
		if other.Namespaces[name] != sum {
			keys = append(keys, "namespaces."+name)
		}
	}
	for name := range other.Namespaces {
		if _, ok := t.Namespaces[name]; !ok {
			keys = append(keys, "namespaces."+name)
		}
	}
	for key, pair := range map[string][2]int{
		"engine.jetstream.replicas": {t.Replicas, other.Replicas},
		"cluster.storage_nodes":     {t.Stores, other.Stores},
		"limits.message":            {t.Message, other.Message},
	} {
		if pair[0] != pair[1] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// agreement warns of nodes that keep to other terms: a rolling change looks
// like that for a while, a mistake for ever.
type agreement struct {
	own terms
	bus channel.Bus
	ctx context.Context
	log *slog.Logger
	// asking are the goroutines that wait for an answer, one for each node that
	// came.
	asking sync.WaitGroup
}

// agree has the nodes of a bus compare their terms, until ctx ends.
func agree(ctx context.Context, c *config.Config, bus channel.Bus, log *slog.Logger) (*agreement, error) {
	a := &agreement{own: termsOf(c), bus: bus, ctx: ctx, log: log}
	answer, err := json.Marshal(a.own)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be compared: %w", err)
	}
	if len(answer) > channel.MaxBusMessage {
		log.Warn("the configuration is too large to be compared with that of other nodes", observe.KeyCount, len(a.own.Namespaces))
		answer = []byte("{}")
	}
	bus.Answer(topicTerms, func(context.Context, channel.Node, []byte) ([]byte, error) { return answer, nil })
	bus.Watch(func(e channel.PeerEvent) {
		if e.Up {
			a.asking.Go(func() { a.compare(e.Node) })
		}
	})
	return a, nil
}

// compare asks a node that came for its terms. One that does not know the
// question is of another release, and has no say.
func (a *agreement) compare(n channel.Node) {
	ctx, cancel := context.WithTimeout(a.ctx, termsTimeout)
	defer cancel()
	b, err := a.bus.Request(ctx, n.ID, topicTerms, nil)
	if err != nil {
		return
	}
	var other terms
	if json.Unmarshal(b, &other) != nil || len(other.Namespaces) == 0 {
		return
	}
	if keys := a.own.differences(&other); len(keys) > 0 {
		shown := keys[:min(len(keys), maxShownKeys)]
		a.log.Warn("another node has a different configuration; until they are the same, channels keep and promise different things on different nodes",
			observe.KeyNode, n.ID, observe.KeyReason, strings.Join(shown, ", "), observe.KeyCount, len(keys))
	}
}

// maxShownKeys is how many keys one warning names.
const maxShownKeys = 20

// wait returns when nobody is asked any more. ctx has ended by then.
func (a *agreement) wait() {
	if a != nil {
		a.asking.Wait()
	}
}
