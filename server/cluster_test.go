package server_test

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"myelin/config"
	"myelin/server"
)

// lonely returns the configuration of a node whose neighbours are not there.
func lonely(t *testing.T) *config.Config {
	t.Helper()
	var ports []string
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, ln.Addr().String())
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c := load(t, true, "")
	c.Node = "a"
	c.Cluster.Listen, c.Cluster.Peers, c.Cluster.Secret = ports[0], ports, "a secret of three nodes"
	c.Engine.JetStream.Path = filepath.Join(t.TempDir(), "data")
	if problems := c.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

// A node that waits for the others must not be killed for it, gets no traffic,
// and can be stopped.
func TestANodeThatWaitsIsAliveAndServesNobody(t *testing.T) {
	// NATS leaves one waiting for a listener that a server inside a process
	// does not have.
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*Server).StartRouting"))
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	s, stop := start(t, lonely(t))
	main, admin := "http://"+s.Addr().String(), "http://"+s.AdminAddr().String()
	for url, want := range map[string]int{
		admin + "/health/live":                         http.StatusOK,
		admin + "/health/startup":                      http.StatusServiceUnavailable,
		admin + "/health/ready":                        http.StatusServiceUnavailable,
		admin + "/metrics":                             http.StatusOK,
		main + "/health/live":                          http.StatusOK,
		main + "/":                                     http.StatusServiceUnavailable,
		main + "/connection/uni_sse?channel=x":         http.StatusServiceUnavailable,
		main + "/connection/websocket":                 http.StatusServiceUnavailable,
		main + "/api/info":                             http.StatusServiceUnavailable,
		main + "/connection/uni_http_stream?channel=x": http.StatusServiceUnavailable,
	} {
		code, body := get(t, url)
		if code != want {
			t.Errorf("%s: %d, want %d", url, code, want)
		}
		if strings.HasPrefix(url, main) && want == http.StatusServiceUnavailable && !strings.Contains(body, "waits for the others") {
			t.Errorf("%s does not say why: %s", url, body)
		}
	}
	select {
	case <-s.Started():
		t.Error("it has started without the others")
	default:
	}
	if err := stop(); err != nil {
		t.Errorf("it does not stop: %v", err)
	}
}

// A node of its own keeps its channels in JetStream through a restart.
func TestANodeAloneKeepsInJetStream(t *testing.T) {
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	c := load(t, true, "")
	c.Engine.Kind, c.Engine.JetStream.Path, c.Node = "jetstream", filepath.Join(t.TempDir(), "data"), "a"
	var before string
	for round := range 2 {
		s, stop := start(t, c)
		select {
		case <-s.Started():
		case <-time.After(time.Minute):
			t.Fatal("it does not start")
		}
		api := "http://" + s.Addr().String() + "/api/"
		if round == 0 {
			post(t, api+"publish", `{"channel": "x", "data": "kept"}`)
		}
		now := post(t, api+"history", `{"channel": "x", "limit": 10}`)
		if !strings.Contains(now, `"kept"`) || round == 1 && now != before {
			t.Errorf("round %d: %s, before %s", round, now, before)
		}
		before = now
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	c.Node = "b"
	s, err := server.New(c, server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Listen(t.Context())
	if err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("the data of node a is opened as node b: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestFilesOfTheClusterAreReadFirst(t *testing.T) {
	for key, change := range map[string]func(*config.Config){
		"cluster.tls.cert_file": func(c *config.Config) {
			c.Cluster.TLS = config.ClusterTLS{CertFile: "/no/cert", KeyFile: "/no/key", CAFile: "/no/ca"}
		},
		"engine.jetstream.ca_file": func(c *config.Config) {
			c.Cluster = config.Default().Cluster
			c.Engine.JetStream.URL, c.Engine.JetStream.CAFile = []string{"nats://127.0.0.1:1"}, "cluster_test.go"
		},
	} {
		c := lonely(t)
		change(c)
		if _, err := server.New(c, server.Options{}); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func post(t *testing.T, url, body string) string {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text := new(strings.Builder)
	if err := resp.Write(text); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	_, answer, _ := strings.Cut(text.String(), "\r\n\r\n")
	return answer
}
