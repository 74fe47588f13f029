package mesh_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"myelin/channel"
	"myelin/mesh"
	"myelin/mesh/meshtest"
)

// diary is a log that can be asked.
type diary struct {
	mu struct {
		sync.Mutex
		text bytes.Buffer
	}
}

// Write is io.Writer's.
func (d *diary) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.text.Write(b)
}

func (d *diary) lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Split(d.mu.text.String(), "\n")
}

// with returns how many lines have a text.
func (d *diary) with(text string) (count int) {
	for _, line := range d.lines() {
		if strings.Contains(line, text) {
			count++
		}
	}
	return count
}

func (d *diary) logger() *slog.Logger { return slog.New(slog.NewTextHandler(d, nil)) }

// says waits until a log has a line with a text.
func (d *diary) says(t *testing.T, text string) {
	t.Helper()
	eventually(t, func(context.Context) error {
		if d.with(text) == 0 {
			return fmt.Errorf("the log does not say %q:\n%s", text, strings.Join(d.lines(), "\n"))
		}
		return nil
	})
}

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, cert := certify(t, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return &authority{cert, key}
}

func certify(t *testing.T, by *authority, template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// node returns what a node of this authority shows.
func (a *authority) node(t *testing.T) *tls.Config {
	t.Helper()
	key, cert := certify(t, a, &x509.Certificate{
		Subject: pkix.Name{CommonName: "node"}, KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, RootCAs: roots}
}

// TestStrangersAreRefused has a fourth node come that is not what it should be.
// Both sides say so, and the cluster of the three others is what it was.
func TestStrangersAreRefused(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	for name, test := range map[string]struct {
		change      func(o *mesh.Options)
		says, hears string
		hopeless    *channel.Error
	}{
		"cluster": {
			change: func(o *mesh.Options) { o.Cluster = "other" },
			says:   "cluster of another name", hears: "cluster of another name", hopeless: channel.ErrUnavailable,
		},
		"secret": {
			change: func(o *mesh.Options) { o.Secret = "another secret altogether" },
			says:   "the peer refuses this node", hears: "does not know the secret", hopeless: channel.ErrUnavailable,
		},
		"authority": {
			change: func(o *mesh.Options) { o.TLS = theirs.node(t) },
			says:   "no TLS connection with the peer", hears: "no TLS connection with the peer", hopeless: channel.ErrUnavailable,
		},
		"plain": {
			change: func(o *mesh.Options) { o.TLS = nil },
			says:   "only one of the two has TLS", hears: "only one of the two has TLS",
		},
		"name": {
			change: func(o *mesh.Options) { o.Node = "a" },
			says:   "another node has the same name", hears: "the same name", hopeless: channel.ErrConflict,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stranger, host diary
			c := meshtest.Prepare(t, 4, func(i int, o *mesh.Options) {
				o.TLS = ours.node(t)
				o.StorageNodes = 3
				o.Logger = host.logger()
				if i == 3 {
					o.Logger = stranger.logger()
					test.change(o)
				}
			})
			for i := range 4 {
				if i == 3 {
					c.Ready()
				}
				if err := c.Open(i); err != nil {
					t.Fatal(err)
				}
			}
			stranger.says(t, test.says)
			host.says(t, test.hears)
			ctx := within(t)
			if test.hopeless != nil {
				if err := c.Node(3).Ready(ctx); !errors.Is(err, test.hopeless) || ctx.Err() != nil {
					t.Errorf("Ready of the stranger: %v, want %v", err, test.hopeless)
				}
			}
			if c.Node(3).Healthy() == nil {
				t.Error("the stranger says that it is healthy")
			}
			stream(t, c.Node(0), 1)
			publish(t, c.Node(1), "still here")
			modest(t, &stranger)
			modest(t, &host)
		})
	}
}

// The node whose name is taken by another need not say a word: the peers refuse
// the other one, and that is enough for it to give up.
func TestTakenName(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	c := meshtest.Prepare(t, 4, func(i int, o *mesh.Options) {
		o.StorageNodes = 3
		if i == 3 {
			o.Node = "a"
			// The second one is the way to the first node.
			o.Peers[1] = silent.Addr().String()
			return
		}
		// Nobody dials the fourth.
		o.Peers = o.Peers[:3]
	})
	for i := range 3 {
		c.Restart(i)
	}
	c.Ready()
	ctx := within(t)
	for i := range 3 {
		// A node that says nothing for a while does not keep its name.
		if err := c.Node(i).Bus().Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Restart(3).Ready(ctx); !errors.Is(err, channel.ErrUnavailable) || ctx.Err() != nil || !strings.Contains(err.Error(), "no peer lets this node in") {
		t.Errorf("Ready of the second one of a name: %v", err)
	}
}

// modest holds that a log neither repeats itself nor tells a secret.
func modest(t *testing.T, d *diary) {
	t.Helper()
	for _, line := range d.lines() {
		message := line[min(len(line), strings.Index(line+"msg=", "msg=")):]
		if n := d.with(message); message != "" && n > 8 {
			t.Errorf("this was logged %d times: %s", n, line)
		}
	}
	if d.with(meshtest.Secret) > 0 || d.with("another secret altogether") > 0 {
		t.Error("the secret was logged")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	ours := newAuthority(t)
	for name, change := range map[string]func(o *mesh.Options){
		"needs 1 to 64 letters":       func(o *mesh.Options) { o.Node = "a b" },
		"is not a node name":          func(o *mesh.Options) { o.Node = strings.Repeat("x", 65) },
		"is not a prefix name":        func(o *mesh.Options) { o.Prefix = "a..b" },
		"is not a cluster name":       func(o *mesh.Options) { o.Cluster = "my cluster" },
		"is not an address of a node": func(o *mesh.Options) { o.Peers = []string{"nowhere"} },
		"no port between":             func(o *mesh.Options) { o.Listen = "127.0.0.1:0" },
		"choose 1, 3 or 5":            func(o *mesh.Options) { o.StorageNodes = 2 },
		"the secret of the cluster":   func(o *mesh.Options) { o.Secret = "short" },
		"either the nodes are":        func(o *mesh.Options) { o.URLs = []string{"nats://127.0.0.1:4222"} },
		"the address 2 of the NATS": func(o *mesh.Options) {
			o.Listen, o.Peers, o.URLs = "", nil, []string{"nats://h:1", "nats://user:secret@[h"}
		},
		"needs an address":             func(o *mesh.Options) { o.Listen = "" },
		"it needs storage":             func(o *mesh.Options) { o.Listen, o.Peers, o.Storage = "", nil, false },
		"needs a directory":            func(o *mesh.Options) { o.StorePath = "" },
		"0 leaves it to the server":    func(o *mesh.Options) { o.MaxStore = -1 },
		"needs the certificate author": func(o *mesh.Options) { o.TLS = &tls.Config{Certificates: ours.node(t).Certificates} },
		"needs a certificate":          func(o *mesh.Options) { o.TLS = &tls.Config{RootCAs: ours.node(t).RootCAs} },
		"at most 256 are possible":     func(o *mesh.Options) { o.Peers = make([]string, 257); fill(o.Peers) },
		"may have at most":             func(o *mesh.Options) { o.MaxPayload = 64 << 20 },
	} {
		o := meshtest.Options(t, "a")
		o.Listen, o.Secret, o.Peers = "127.0.0.1:1", meshtest.Secret, []string{"127.0.0.1:2"}
		change(&o)
		n, err := mesh.Open(t.Context(), o)
		if n != nil {
			t.Errorf("%s: opened", name)
		}
		if !errors.Is(err, channel.ErrBadRequest) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want one that says %q", err, name)
		}
		if err != nil && strings.Contains(err.Error(), "user:secret") {
			t.Errorf("%v has what was secret", err)
		}
	}
}

func fill(addresses []string) {
	for i := range addresses {
		addresses[i] = "127.0.0.1:2"
	}
}

func TestListenerInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := meshtest.Options(t, "a")
	o.Listen, o.Secret = l.Addr().String(), meshtest.Secret
	if _, err := mesh.Open(t.Context(), o); !errors.Is(err, channel.ErrUnavailable) || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Open on a port in use: %v", err)
	}
	// What was opened half is given back.
	o.Listen = meshtest.FreeAddress(t)
	open(t, o)
}
