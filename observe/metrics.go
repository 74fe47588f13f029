package observe

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes is how many scrapes are answered at a time; more get 503.
const maxScrapes = 4

// Metrics is the metrics of one process. A nil *Metrics counts nothing.
type Metrics struct {
	registry *prometheus.Registry
	families map[string]*family
	hub      *Hub

	namespaces  *vec[string, Namespace]
	consumers   *vec[string, Consumers]
	publishes   *vec[string, Histogram]
	doors       *vec[string, Door]
	commands    *vec[string, Counter]
	replies     *vec[uint32, Counter]
	disconnects *vec[uint32, Counter]
	limits      *vec[string, Counter]
	api         *vec[string, APIMethod]
	slow        *vec[string, Counter]
	expired     *vec[string, Counter]
	hooks       *vec[string, Hook]
	webhooks    *vec[string, Webhook]
}

// New returns metrics that are all zero.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), families: make(map[string]*family)}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	for _, row := range Table() {
		f := newFamily(row)
		m.families[row.Name] = f
		m.registry.MustRegister(f)
	}
	m.hub = m.newHub()
	m.namespaces = newNameVec(MaxNamespaces, m.newNamespace)
	m.consumers = newNameVec(MaxNamespaces, m.newConsumers)
	m.publishes = newNameVec(MaxNamespaces, func(ns string) *Histogram { return m.histogram(namePublishSeconds, ns) })
	m.hooks, m.webhooks = newNameVec(MaxHooks, m.newHook), newNameVec(MaxHooks, m.newWebhook)
	m.doors = newNameVec(MaxDoors, m.newDoor)
	m.limits = newNameVec(MaxLimits, func(limit string) *Counter { return m.counter(nameLimitHits, limit) })
	m.commands = newListVec(commandNames(), func(name string) *Counter { return m.counter(nameCommands, name) })
	m.slow = newListVec(slowRules(), func(rule string) *Counter { return m.counter(nameSlow, rule) })
	m.expired = newListVec(expiryQueues(), func(queue string) *Counter { return m.counter(nameExpired, queue) })
	m.api = newListVec(apiMethods(), m.newAPIMethod)
	m.replies = newVec(2*codesPerRange, errorCode, codeLabel, func(code string) *Counter { return m.counter(nameErrorReplies, code) })
	m.disconnects = newVec(2*codesPerRange, disconnectCode, codeLabel, func(code string) *Counter { return m.counter(nameDisconnects, code) })
	return m
}

// Handler answers a scrape with all metrics.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	})
}

// Info says what is running.
func (m *Metrics) Info(version, engine string) {
	if m == nil {
		return
	}
	one := new(Gauge)
	one.Set(1)
	m.families[nameBuildInfo].replace(one, clean(version), clean(engine))
}

// Namespace is what is counted for one namespace.
type Namespace struct {
	// Published counts publications accepted, Delivered those handed to a
	// subscriber, Duplicates publishes whose id was known.
	Published, Delivered, Duplicates *Counter
	// Joins and Leaves count the events of these names.
	Joins, Leaves *Counter
	// Recovered and Unrecovered count how asking to recover ended.
	Recovered, Unrecovered *Counter
	// PositionFailures counts subscribers found behind their channel, Repairs
	// channels read again because their feed may have had a gap.
	PositionFailures, Repairs *Counter
	// Conflated counts deliveries that gave way to a newer one, Dropped those
	// not made because a client was slow.
	Conflated, Dropped *Counter
	// Filtered counts deliveries that a filter kept back, DeltaSaved the bytes
	// that patches saved.
	Filtered, DeltaSaved *Counter
	// Channels and Subscriptions are those on this node now.
	Channels, Subscriptions *Gauge
}

// Namespace returns the counters of a namespace, never nil.
func (m *Metrics) Namespace(name string) *Namespace {
	if m == nil {
		return new(Namespace)
	}
	return m.namespaces.get(clean(name))
}

func (m *Metrics) newNamespace(name string) *Namespace {
	return &Namespace{
		Published:        m.counter(namePublications, name),
		Delivered:        m.counter(nameDeliveries, name),
		Duplicates:       m.counter(nameDuplicates, name),
		Joins:            m.counter(nameJoins, name),
		Leaves:           m.counter(nameLeaves, name),
		Recovered:        m.counter(nameRecovered, name),
		Unrecovered:      m.counter(nameUnrecovered, name),
		PositionFailures: m.counter(namePositionFailures, name),
		Repairs:          m.counter(nameRepairs, name),
		Dropped:          m.counter(nameDropped, name),
		Conflated:        m.counter(nameConflated, name),
		Filtered:         m.counter(nameFiltered, name),
		DeltaSaved:       m.counter(nameDeltaSaved, name),
		Channels:         m.gauge(nameChannels, name),
		Subscriptions:    m.gauge(nameSubscriptions, name),
	}
}

// PublishSeconds returns where the publish latency of a namespace is observed.
func (m *Metrics) PublishSeconds(namespace string) *Histogram {
	if m == nil {
		return nil
	}
	return m.publishes.get(clean(namespace))
}

// Door is what is counted for one way in.
type Door struct {
	// Connections is how many are open now, Opened how many ever were.
	Connections *Gauge
	Opened      *Counter
	// BytesIn and BytesOut count payload bytes from and to clients.
	BytesIn, BytesOut *Counter
	// Refused counts what was turned away before there was a session.
	Refused *Counter
}

// Door returns the counters of a door, never nil.
func (m *Metrics) Door(name string) *Door {
	if m == nil {
		return new(Door)
	}
	return m.doors.get(clean(name))
}

func (m *Metrics) newDoor(name string) *Door {
	return &Door{
		Connections: m.gauge(nameDoorConnections, name),
		Opened:      m.counter(nameDoorOpened, name),
		BytesIn:     m.counter(nameDoorIn, name),
		BytesOut:    m.counter(nameDoorOut, name),
		Refused:     m.counter(nameDoorRefused, name),
	}
}

// APIMethod is what is counted for one method of the HTTP API.
type APIMethod struct {
	// Requests counts all requests, Errors those answered with an error.
	Requests, Errors *Counter

	seconds *Histogram
}

// Observe counts how long one request took, in seconds.
func (a *APIMethod) Observe(seconds float64) {
	if a != nil {
		a.seconds.Observe(seconds)
	}
}

// API returns the counters of a method of the HTTP API, never nil.
func (m *Metrics) API(method string) *APIMethod {
	if m == nil {
		return new(APIMethod)
	}
	return m.api.get(method)
}

func (m *Metrics) newAPIMethod(method string) *APIMethod {
	return &APIMethod{
		Requests: m.counter(nameAPIRequests, method),
		Errors:   m.counter(nameAPIErrors, method),
		seconds:  m.histogram(nameAPISeconds, method),
	}
}

// Hub is what is counted for the hub as a whole.
type Hub struct {
	// Writes and WriteBytes count what went to connections, Joined the frames
	// that shared a write with an earlier one.
	Writes, WriteBytes, Joined *Counter
	PingsSent                  *Counter
	// SlowDisconnects counts sessions that did not take what was queued.
	SlowDisconnects *Counter
	// Sessions and InboxDepth are those of this node now.
	Sessions, InboxDepth *Gauge
	// RemoteMembers is how many members of other nodes are known, MemberCopies
	// how often all of a node's were read.
	RemoteMembers *Gauge
	MemberCopies  *Counter
}

// Hub returns the counters of the hub, never nil.
func (m *Metrics) Hub() *Hub {
	if m == nil {
		return new(Hub)
	}
	return m.hub
}

func (m *Metrics) newHub() *Hub {
	return &Hub{
		Writes:          m.counter(nameHubWrites),
		WriteBytes:      m.counter(nameHubBytes),
		Joined:          m.counter(nameHubJoined),
		PingsSent:       m.counter(nameHubPings),
		SlowDisconnects: m.counter(nameHubSlowDrops),
		Sessions:        m.gauge(nameHubSessions),
		InboxDepth:      m.gauge(nameHubInbox),
		RemoteMembers:   m.gauge(nameHubRemote),
		MemberCopies:    m.counter(nameHubCopies),
	}
}

// Command returns the counter of a command of the client protocol.
func (m *Metrics) Command(method string) *Counter {
	if m == nil {
		return nil
	}
	return m.commands.get(method)
}

// Reply returns the counter of error replies of a code.
func (m *Metrics) Reply(code uint32) *Counter {
	if m == nil {
		return nil
	}
	return m.replies.get(code)
}

// Disconnect returns the counter of disconnects of a code.
func (m *Metrics) Disconnect(code uint32) *Counter {
	if m == nil {
		return nil
	}
	return m.disconnects.get(code)
}

// Limit returns the counter of a named limit.
func (m *Metrics) Limit(name string) *Counter {
	if m == nil {
		return nil
	}
	return m.limits.get(clean(name))
}

// Limits returns how often each limit was hit that was hit at all, by name.
func (m *Metrics) Limits() map[string]int64 {
	out := make(map[string]int64)
	if m == nil {
		return out
	}
	f := m.families[nameLimitHits]
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.mu.cells {
		if hits, ok := c.value.(*Counter); ok && hits.Value() > 0 {
			out[c.labels[0]] = hits.Value()
		}
	}
	return out
}

func (m *Metrics) counter(name string, labels ...string) *Counter {
	c := new(Counter)
	m.families[name].add(c, labels...)
	return c
}

func (m *Metrics) gauge(name string, labels ...string) *Gauge {
	g := new(Gauge)
	m.families[name].add(g, labels...)
	return g
}

func (m *Metrics) histogram(name string, labels ...string) *Histogram {
	h := newHistogram()
	m.families[name].add(h, labels...)
	return h
}

func codeLabel(code uint32) string { return strconv.FormatUint(uint64(code), 10) }
