package mesh

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"

	"myelin/channel"
	"myelin/observe"
)

// Options is what a Network is made of. A node alone needs Node and StorePath;
// one of a cluster needs Cluster, Listen, Peers and Secret too; one that uses
// NATS servers elsewhere needs Node and URLs.
type Options struct {
	// Node is the name of this node, the same after every restart: 1 to 64
	// letters, digits, "-", "_" and "." within.
	Node string
	// Cluster is the name of the cluster. Peers with another are refused.
	Cluster string
	// Listen is where peers connect, host:port. Empty: a node alone, which
	// listens nowhere.
	Listen string
	// Advertise is what peers are told instead of Listen, host:port.
	Advertise string
	// Peers are the listeners of the other nodes, host:port. This node may be
	// among them.
	Peers []string
	// Secret is what all nodes of a cluster know and nobody else; needed with
	// Listen. It is not sent, a hash of it is.
	Secret string
	// TLS, where it is set, is for both sides of each connection between nodes:
	// a certificate, and the authorities in RootCAs that all certificates come
	// from. Peers without such a certificate are refused.
	TLS *tls.Config
	// StorePath is the directory of what the embedded server keeps.
	StorePath string
	// Storage says that this node keeps data. One that does not uses the
	// storage of the others.
	Storage bool
	// StorageNodes is how many nodes of the cluster keep data: 1, 3 or 5; 0
	// takes 1 for a node alone, else 3.
	StorageNodes int
	// SyncAlways says that nothing is acknowledged before it is on the disk.
	SyncAlways bool
	// MaxMemory and MaxStore bound what is kept in memory and on disk, in bytes;
	// 0 leaves it to the server, which takes three quarters of what is there.
	MaxMemory, MaxStore int64
	// MaxPayload is how many bytes a message may have; 0 takes 1 MiB, and less
	// than that is not possible.
	MaxPayload int

	// URLs are NATS servers elsewhere. With them nothing is embedded.
	URLs []string
	// CredentialsFile, User and Password, and Token are ways to log in there.
	CredentialsFile, User, Password, Token string
	// ExternalTLS is for the connections to them.
	ExternalTLS *tls.Config

	// Prefix begins all subjects; empty takes "myelin".
	Prefix string
	// Addr and Version are what the other nodes are told of this one.
	Addr, Version string
	// Logger, where it is nil, is the default one.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *observe.Metrics
}

const (
	defaultPrefix  = "myelin"
	defaultPayload = 1 << 20
	// maxPayload is where NATS itself begins to warn.
	maxPayload = 8 << 20
	// MaxPeers is how many other nodes there may be.
	MaxPeers = 256
	// minSecretBytes keeps out secrets that can be guessed.
	minSecretBytes = 16
	maxNameBytes   = 64
)

func (o Options) withDefaults() Options {
	o.Prefix = cmp.Or(o.Prefix, defaultPrefix)
	o.Cluster = cmp.Or(o.Cluster, defaultPrefix)
	o.MaxPayload = max(o.MaxPayload, defaultPayload)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.StorageNodes == 0 {
		o.StorageNodes = 3
		if o.Listen == "" {
			o.StorageNodes = 1
		}
	}
	return o
}

// external says that nothing is embedded.
func (o *Options) external() bool { return len(o.URLs) > 0 }

// clustered says that the embedded server has peers.
func (o *Options) clustered() bool { return !o.external() && o.Listen != "" }

// check returns what is wrong with the options, nil for nothing.
func (o *Options) check() error {
	if err := checkName("node", o.Node); err != nil {
		return err
	}
	if o.MaxPayload > maxPayload {
		return refuse("a message may have at most %d bytes, not %d", maxPayload, o.MaxPayload)
	}
	for word := range strings.SplitSeq(o.Prefix, ".") {
		if err := checkName("prefix", word); err != nil {
			return err
		}
	}
	if o.external() {
		return o.checkExternal()
	}
	if o.clustered() {
		return o.checkCluster()
	}
	if len(o.Peers) > 0 {
		return refuse("a node with peers needs an address to listen on")
	}
	if !o.Storage {
		return refuse("a node alone has nobody else to keep its data: it needs storage")
	}
	return o.checkStore()
}

func (o *Options) checkExternal() error {
	if o.Listen != "" || len(o.Peers) > 0 {
		return refuse("either the nodes are a cluster of their own, or they use NATS servers elsewhere, not both")
	}
	for i, address := range o.URLs {
		// What is wrong is not repeated: there may be a password in it.
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return refuse("the address %d of the NATS servers is not one; write nats://host:port", i+1)
		}
	}
	return nil
}

func (o *Options) checkStore() error {
	if o.Storage && o.StorePath == "" {
		return refuse("a node with storage needs a directory for it")
	}
	if o.MaxMemory < 0 || o.MaxStore < 0 {
		return refuse("a limit on storage is negative; 0 leaves it to the server")
	}
	return nil
}

func (o *Options) checkCluster() error {
	if err := checkName("cluster", o.Cluster); err != nil {
		return err
	}
	addresses := append([]string{o.Listen}, o.Peers...)
	if o.Advertise != "" {
		addresses = append(addresses, o.Advertise)
	}
	for _, address := range addresses {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return refuse("%q is not an address of a node; write host:port", address)
		}
	}
	switch {
	case len(o.Peers) > MaxPeers:
		return refuse("there are %d peers, at most %d are possible", len(o.Peers), MaxPeers)
	case len(o.Secret) < minSecretBytes:
		return refuse("the secret of the cluster has %d bytes; it needs %d or more, the same on every node", len(o.Secret), minSecretBytes)
	case o.StorageNodes != 1 && o.StorageNodes != 3 && o.StorageNodes != 5:
		return refuse("%d nodes with storage are not possible; choose 1, 3 or 5", o.StorageNodes)
	case o.TLS != nil && o.TLS.RootCAs == nil:
		return refuse("TLS between nodes needs the certificate authority that their certificates come from")
	case o.TLS != nil && len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil:
		return refuse("TLS between nodes needs a certificate for this one")
	}
	return o.checkStore()
}

// checkName holds names to what is a name in subjects, file systems and hosts.
func checkName(what, name string) error {
	wrong := name == "" || len(name) > maxNameBytes || name[0] == '.' || name[len(name)-1] == '.'
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		digit := c >= '0' && c <= '9'
		wrong = wrong || !letter && !digit && !strings.ContainsRune("-_.", rune(c))
	}
	if wrong || name == "_" {
		return refuse("%q is not a %s name; it needs 1 to %d letters, digits, -, _ and . within", name, what, maxNameBytes)
	}
	return nil
}

func refuse(format string, args ...any) error {
	return channel.ErrBadRequest.With(fmt.Sprintf(format, args...))
}
