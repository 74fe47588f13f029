package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"myelin/client"
	"myelin/config"
	"myelin/server"
)

// load returns a configuration for a test on free ports.
func load(t *testing.T, dev bool, text string) *config.Config {
	t.Helper()
	c, err := config.Load(config.Source{
		Path: "(test)", Bytes: []byte(text), Dev: dev,
		Set: []string{"listen=127.0.0.1:0", "admin.listen=127.0.0.1:0", "drain.grace=0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a server until the test ends and returns it with the function
// that stops it and says how it ended.
func start(t *testing.T, c *config.Config) (*server.Server, func() error) {
	t.Helper()
	s, err := server.New(c, server.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := func() error {
		cancel()
		return <-ended
	}
	return s, stop
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAPublicationGoesThroughTheWholeHouse(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, stop := start(t, load(t, true, ""))
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	c, err := client.New("ws://"+s.Addr().String()+"/connection/websocket", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	got := make(chan client.Publication, 1)
	ready := make(chan struct{})
	_, err = c.Subscribe("news", client.SubOptions{
		OnSubscribed:  func(client.SubscribedInfo) { close(ready) },
		OnPublication: func(p client.Publication) { got <- p },
	})
	if err != nil {
		t.Fatal(err)
	}
	<-ready
	if err := c.Publish(ctx, "news", []byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	if p := <-got; string(p.Data) != `{"n":1}` || p.Position.Offset != 1 {
		t.Errorf("received %s at %v", p.Data, p.Position)
	}
	_, metrics := get(t, "http://"+s.AdminAddr().String()+"/metrics")
	for _, want := range []string{`myelin_publications_total{namespace="default"} 1`, `myelin_deliveries_total{namespace="default"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics do not say %s", want)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("drain: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Who is kept out by address gets nothing but what has a key of its own, and
// what a probe asks.
func TestABlockedAddressIsKeptOut(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, stop := start(t, load(t, true, "auth: {block: {addresses: [127.0.0.0/8]}}"))
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	<-s.Started()
	base := "http://" + s.Addr().String()
	refused := 0
	for path, want := range map[string]int{
		"/": http.StatusForbidden, "/connection/sse": http.StatusForbidden, "/emulation": http.StatusForbidden, "/consumer/ack": http.StatusForbidden,
		"/health/live": http.StatusOK, "/health/ready": http.StatusOK, "/metrics": http.StatusOK, "/api/explain?channel=x&offset=1": http.StatusOK,
	} {
		if status, body := get(t, base+path); status != want {
			t.Errorf("%s: status %d, want %d: %s", path, status, want, body)
		} else if want == http.StatusForbidden {
			refused++
		}
	}
	if _, metrics := get(t, base+"/metrics"); !strings.Contains(metrics, fmt.Sprintf("myelin_limit_hits_total{limit=\"banned\"} %d\n", refused)) {
		t.Errorf("%d were refused, and not as many are counted", refused)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestOperatorPathsAreOnTheAdminListener(t *testing.T) {
	for _, dev := range []bool{false, true} {
		s, stop := start(t, load(t, dev, "auth: {anonymous: true}"))
		main, admin := "http://"+s.Addr().String(), "http://"+s.AdminAddr().String()
		for _, path := range []string{"/metrics", "/health/live", "/health/ready", "/health/startup"} {
			if code, _ := get(t, admin+path); code != http.StatusOK {
				t.Errorf("admin %s: %d", path, code)
			}
			want := http.StatusNotFound
			if dev {
				want = http.StatusOK
			}
			if code, _ := get(t, main+path); code != want {
				t.Errorf("dev %t, main %s: %d, want %d", dev, path, code, want)
			}
		}
		if code, _ := get(t, main+"/debug/pprof/"); code != http.StatusNotFound {
			t.Errorf("pprof is on the main listener: %d", code)
		}
		if code, _ := get(t, admin+"/debug/pprof/"); code != http.StatusOK {
			t.Errorf("pprof is not on the admin listener: %d", code)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestABusyAddressIsSaidWithAWayOut(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	for key, hint := range map[string]string{"listen": "--set listen=", "admin.listen": "--set admin.listen="} {
		c := load(t, true, "")
		if key == "listen" {
			c.Listen = ln.Addr().String()
		} else {
			c.Admin.Listen = ln.Addr().String()
		}
		s, err := server.New(c, server.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Listen(t.Context())
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%s: %v, want a hint %q", key, err, hint)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close after a failed listen: %v", err)
		}
	}
}

func TestWhatCannotWorkIsRefusedBeforeListening(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"auth.tokens.public_key_file": func(c *config.Config) { c.Auth.Tokens.PublicKeyFile = "/no/such/file" },
		"auth.allowed_origins":        func(c *config.Config) { c.Auth.AllowedOrigins = []string{"not an origin"} },
		"namespaces.default.publish": func(c *config.Config) {
			ns := c.Namespaces["default"]
			ns.Publish = []string{"everyone"}
			c.Namespaces["default"] = ns
		},
		"engine.kind": func(c *config.Config) { c.Engine.Kind = "punchcards" },
		"tls": func(c *config.Config) {
			c.TLS = config.TLS{CertFile: "/no/such/cert", KeyFile: "/no/such/key"}
		},
	} {
		c := load(t, true, "")
		change(c)
		_, err := server.New(c, server.Options{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
