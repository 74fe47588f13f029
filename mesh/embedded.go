package mesh

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"myelin/channel"
)

const (
	// startTimeout is how long an embedded server may take to accept
	// connections once its data is read.
	startTimeout = 10 * time.Second
	// A route that does not answer is given up after so many pings.
	routePing      = 2 * time.Second
	routePings     = 2
	routeAuthTime  = 5
	routeTLSTime   = 5
	reportAttempts = 60
	// systemAccount is whose API speaks of the cluster itself.
	systemAccount = "$SYS"
	// storeDir is the directory of the server's own within ours.
	storeDir = "nats"
)

// embedded is a NATS server inside this process.
type embedded struct {
	*server.Server
	voice *voice
	home  *home
	guard *guard
	// newcomer is nil where this node was a member before.
	newcomer *newcomer
	// The credentials of the connections in the process. They are made anew in
	// every process, so that nothing from outside can be a client.
	user, system credentials
}

type credentials struct{ user, password string }

func newCredentials() credentials { return credentials{"node-" + rand.Text(), rand.Text()} }

// startEmbedded starts a server as the options want it.
func startEmbedded(o *Options) (*embedded, error) {
	e := &embedded{voice: newVoice(o), user: newCredentials(), system: newCredentials()}
	if err := e.enter(o); err != nil {
		return nil, err
	}
	options, err := e.options(o)
	if err != nil {
		return nil, e.leave(err)
	}
	if e.Server, err = server.NewServer(options); err != nil {
		return nil, e.leave(refuse("the embedded NATS server does not take its options: %v", err))
	}
	if o.clustered() {
		e.guard.watch(e.Server)
	}
	if e.newcomer, err = arrive(o); err != nil {
		return nil, e.leave(err)
	}
	if err := seed(e.Server, o, len(options.Routes)); err != nil {
		return nil, e.leave(err)
	}
	e.SetLoggerV2(e.voice, false, false, false)
	e.Start()
	if err := e.voice.fatal(); err != nil {
		return nil, e.stop(err)
	}
	if o.clustered() {
		// Without a listener for clients the server waits for ever before it
		// listens for routes. This call takes the place of the one that waits.
		ready := make(chan struct{})
		close(ready)
		e.StartRouting(ready)
	}
	if err := e.voice.fatal(); err != nil {
		return nil, e.stop(err)
	}
	if !e.ReadyForConnections(startTimeout) {
		return nil, e.stop(channel.ErrUnavailable.With(fmt.Sprintf("the embedded NATS server was not ready after %v", startTimeout)))
	}
	return e, nil
}

// enter takes the directory, where there is one.
func (e *embedded) enter(o *Options) (err error) {
	if !o.Storage {
		return checkAbandoned(o)
	}
	e.home, err = enterHome(o)
	return err
}

// leave gives the directory back, with what else was wrong.
func (e *embedded) leave(err error) error {
	if e.home != nil {
		e.home.leave()
	}
	return err
}

// stop ends the server.
func (e *embedded) stop(err error) error {
	e.voice.hush()
	e.Shutdown()
	e.WaitForShutdown()
	return e.leave(err)
}

// options translates ours.
func (e *embedded) options(o *Options) (*server.Options, error) {
	system := server.NewAccount(systemAccount)
	options := &server.Options{
		ServerName:    o.Node,
		DontListen:    true,
		AuthTimeout:   ownTimeout.Seconds(), // clients are of this process
		NoSigs:        true,
		MaxPayload:    int32(o.MaxPayload),
		SystemAccount: systemAccount,
		Accounts:      []*server.Account{system},
		Users: []*server.User{
			{Username: e.user.user, Password: e.user.password},
			{Username: e.system.user, Password: e.system.password, Account: system},
		},
		ConnectErrorReports:    reportAttempts,
		ReconnectErrorReports:  reportAttempts,
		DisableJetStreamBanner: true,
	}
	if o.Storage {
		options.JetStream = true
		options.StoreDir = filepath.Join(o.StorePath, storeDir)
		options.SyncAlways = o.SyncAlways
		options.JetStreamMaxMemory = o.MaxMemory
		options.JetStreamMaxStore = o.MaxStore
	}
	if !o.clustered() {
		return options, nil
	}
	e.guard = &guard{secret: o.Secret, voice: e.voice}
	options.CustomRouterAuthentication = e.guard
	return options, clusterOptions(o, options)
}

// clusterOptions adds what makes a server one of several.
func clusterOptions(o *Options, options *server.Options) error {
	host, port, err := splitAddress(o.Listen)
	if err != nil {
		return err
	}
	password := routePassword(o.Secret, o.Node)
	options.Cluster = server.ClusterOpts{
		Name: o.Cluster, Host: host, Port: port, Advertise: o.Advertise,
		Username: o.Node, Password: password, AuthTimeout: routeAuthTime,
		PingInterval: routePing, MaxPingsOut: routePings,
		TLSConfig: mutual(o.TLS), TLSTimeout: routeTLSTime,
	}
	for _, peer := range routes(o) {
		options.Routes = append(options.Routes, &url.URL{
			Scheme: "nats-route", Host: peer, User: url.UserPassword(o.Node, password),
		})
	}
	return nil
}

// routes returns whom to connect to. The server counts them to know how many
// it needs for a first quorum, so this node is among them.
func routes(o *Options) []string {
	self := o.Listen
	if o.Advertise != "" {
		self = o.Advertise
	}
	all := slices.Clone(o.Peers)
	if len(all) < o.StorageNodes && !slices.Contains(all, o.Listen) && !slices.Contains(all, self) {
		all = append(all, self)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// mutual makes both sides of a connection show a certificate of the same
// authority.
func mutual(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	c.ClientCAs = c.RootCAs
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.MinVersion = tls.VersionTLS13
	return c
}

func splitAddress(address string) (host string, port int, err error) {
	host, word, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, refuse("%q is not an address; write host:port", address)
	}
	port, err = strconv.Atoi(word)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, refuse("%q has no port between 1 and 65535", address)
	}
	return host, port, nil
}
