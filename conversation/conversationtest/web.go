package conversationtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"myelin/internal/memnet"
)

// Proto is a version of HTTP and what it runs over.
type Proto string

// The versions.
const (
	HTTP1 Proto = "HTTP/1.1"
	H2C   Proto = "HTTP/2, cleartext"
	H2    Proto = "HTTP/2 over TLS"
)

// Protos returns all of them.
func Protos() []Proto { return []Proto{HTTP1, H2C, H2} }

// Web is an HTTP server on a network in memory, set up as the real one is, and
// a client to it.
type Web struct {
	// URL is the server's, without a path.
	URL      string
	Client   *http.Client
	Server   *http.Server
	listener *memnet.Listener
	done     chan struct{}
}

// Serve returns a server for h, in a bubble. buffer is how many bytes the network holds in
// each direction, 0 for the usual.
func Serve(t testing.TB, h http.Handler, p Proto, buffer int) *Web {
	t.Helper()
	all := new(http.Protocols)
	all.SetHTTP1(true)
	all.SetHTTP2(true)
	all.SetUnencryptedHTTP2(true)
	w := &Web{
		URL: "http://mem", listener: memnet.Listen(memnet.Options{Buffer: buffer}), done: make(chan struct{}),
		Server: &http.Server{Handler: Hurried(h), Protocols: all, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10},
	}
	mine := new(http.Protocols)
	transport := &http.Transport{DialContext: w.listener.DialContext, Protocols: mine, DisableCompression: true}
	serve := func() error { return w.Server.Serve(w.listener) }
	switch p {
	case HTTP1:
		mine.SetHTTP1(true)
	case H2C:
		mine.SetUnencryptedHTTP2(true)
	case H2:
		mine.SetHTTP2(true)
		w.URL = "https://mem"
		cert, pool := Certificate(t)
		w.Server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: "mem"}
		serve = func() error { return w.Server.ServeTLS(w.listener, "", "") }
	}
	w.Client = &http.Client{Transport: transport}
	go func() {
		defer close(w.done)
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = w.Server.Close()
		<-w.done
		// After some refusals net/http keeps a connection for half a second.
		<-time.After(time.Second)
	})
	return w
}

// Hurried gives a request 30 s to be read and answered, as the real server
// does: whoever takes longer has to see to the deadlines.
func Hurried(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		until := time.Now().Add(30 * time.Second)
		_ = rc.SetReadDeadline(until)
		_ = rc.SetWriteDeadline(until)
		h.ServeHTTP(w, r)
	})
}

// Dial opens a bare connection to the server.
func (w *Web) Dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := w.listener.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Certificate returns a certificate for "mem", good at the time of the test,
// and who trusts it.
func Certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mem"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
