package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"myelin/client"
)

// The secrets of the traffic below. Those of the first kind are names: they may
// stand in a log, where an operator looks for them, but not in metrics. Those of
// the second kind stand nowhere.
const (
	secretChannel = "chat:hush-channel-4711"
	secretSpace   = "hush-space-4711"
	secretUser    = "hush-user-4711"
	secretPath    = "hush-path-4711"

	secretData = "quiet-data-0815"
	secretInfo = "quiet-info-0815"
	secretID   = "quiet-id-0815"
	secretTag  = "quiet-tag-0815"
	secretKey  = "quiet-key-0815-that-is-the-wrong-one"
)

const privateConfig = `
auth: {anonymous: true}
api: {key: ` + apiKey + `}
drain: {grace: 0}
log: {level: debug}
namespaces:
  chat:
    history: {size: 100}
    presence: true
    join_leave: true
    subscribe: [anonymous]
    publish: [anonymous]
    read_presence: [anonymous]
    read_history: [anonymous]
`

// TestNothingPrivateIsTold sends secrets through every door, in good requests
// and in bad ones, and looks for them in what the server tells of itself.
func TestNothingPrivateIsTold(t *testing.T) {
	t.Parallel()
	server := serve(t, privateConfig, "--set", "auth.tokens.hmac_secret="+tokenSecret)
	good := newToken(t, "-u", secretUser, "--secret", tokenSecret, "--info", `{"x":"`+secretInfo+`"}`, "--subscribe", secretChannel+"2")
	forged := newToken(t, "-u", secretUser, "--secret", "another-secret-that-is-just-as-long-as-it")
	grant := newToken(t, "-u", secretUser, "--secret", tokenSecret, "--channel", secretChannel+"3")
	spent := newToken(t, "-u", secretUser, "--secret", tokenSecret, "--ttl", "1ms")

	talkAsClient(t, server, good, grant)
	w := newWay(t, server.main, nil, 1)
	session := listen(w, good)
	for _, tok := range []string{forged, spent, secretKey + ".x.y"} {
		refuse(w, tok)
	}
	callAPI(w, good)

	resp, err := http.Get(server.adminHTTP("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(metrics), `myelin_publications_total{namespace="chat"} `) {
		t.Fatalf("there are no metrics of the traffic (%v):\n%s", err, metrics)
	}
	if err := server.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, err := server.wait(); err != nil || code != 0 {
		t.Errorf("it ended with %d (%v)", code, err)
	}
	log := server.out.String()
	if !strings.Contains(log, `"level":"DEBUG"`) {
		t.Error("the log has no details in which anything could be found")
	}
	nowhere := []string{
		secretData, secretInfo, secretID, secretTag, secretKey, apiKey, tokenSecret, session,
		good, forged, grant, spent, signature(good), signature(forged), signature(grant), signature(spent),
	}
	for _, secret := range nowhere {
		if strings.Contains(log, secret) {
			t.Errorf("the log tells %s:\n%s", secret, lineWith(log, secret))
		}
	}
	for _, secret := range append(nowhere, secretChannel, secretSpace, secretUser, secretPath, "4711", "0815") {
		if strings.Contains(string(metrics), secret) {
			t.Errorf("the metrics tell %s:\n%s", secret, lineWith(string(metrics), secret))
		}
	}
}

func signature(token string) string { return token[strings.LastIndexByte(token, '.')+1:] }

func lineWith(text, what string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}

// talkAsClient uses what a client can do with data.
func talkAsClient(t *testing.T, server *process, good, grant string) {
	t.Helper()
	c, err := client.New(server.ws(), client.Options{Token: good, Name: "hush-name-4711", Data: []byte(`"` + secretData + `"`)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := make(chan struct{}, 8)
	for name, o := range map[string]client.SubOptions{
		secretChannel: {JoinLeave: true}, secretChannel + "3": {Token: grant}, secretSpace + ":x": {Data: []byte(`"` + secretData + `"`)},
	} {
		o.OnPublication = func(client.Publication) { got <- struct{}{} }
		if _, err := c.Subscribe(name, o); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	data := []byte(`{"x":"` + secretData + `"}`)
	call := fmt.Sprintf(`{"channel":%q,"data":%q,"id":%q,"tags":{"k":%q}}`, secretChannel, secretData, secretID, secretTag)
	_, rpcErr := c.RPC(ctx, "myelin.publish", []byte(call))
	_, historyErr := c.History(ctx, secretChannel, client.HistoryOptions{Limit: 10})
	_, presenceErr := c.Presence(ctx, secretChannel)
	for what, err := range map[string]error{
		"publish": c.Publish(ctx, secretChannel, data), "myelin.publish": rpcErr, "history": historyErr, "presence": presenceErr,
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	wait(t, got, "publication")
	_, rpcErr = c.RPC(ctx, "hush-method-4711", data)
	for what, err := range map[string]error{
		"publish to an unknown namespace": c.Publish(ctx, secretSpace+":x", data),
		"call an unknown method":          rpcErr,
	} {
		if err == nil {
			t.Errorf("%s: it was done", what)
		}
	}
	// The server has no use for messages, and ends who sends one.
	if err := c.Send(ctx, data); err != nil {
		t.Error(err)
	}
	wait(t, c.Done(), "end of the client")
}

// listen opens streams with a good token and returns the session's secret.
func listen(w *way, good string) string {
	w.t.Helper()
	query := url.Values{"channel": {secretChannel}, "token": {good}}.Encode()
	s := w.stream(http.MethodGet, "/connection/uni_sse?"+query, "")
	s.until(`"connect":`)
	s.close()
	line := connectBy(w, good)
	_, session, _ := strings.Cut(line, `"session":"`)
	session, _, found := strings.Cut(session, `"`)
	if !found {
		w.t.Fatalf("there is no session in %s", line)
	}
	for _, body := range []string{
		fmt.Sprintf(`{"session":%q,"node":"hush-node-4711","data":%q}`, session, secretData),
		`{"session":"` + secretKey + `","data":"` + secretData,
	} {
		_ = w.do(http.MethodPost, "/emulation", body).Body.Close()
	}
	return session
}

// refuse tries a bad token, and broken requests around it, at every door.
func refuse(w *way, bad string) {
	w.t.Helper()
	query := "?" + url.Values{"channel": {secretChannel}, "token": {bad}}.Encode()
	connect := `{"id":1,"connect":{"token":"` + bad + `","data":"` + secretData + `"}}`
	for _, r := range []struct{ path, body string }{
		{"/connection/uni_sse" + query, ""},
		{"/connection/uni_http_stream" + query, ""},
		{"/connection/uni_http_stream", `{"token":"` + bad + `","data":"` + secretData + `"}`},
		{"/connection/uni_http_stream", `{"token":"` + bad},
		{"/connection/http_stream", connect},
		{"/connection/http_stream", connect[:len(connect)-1]},
		{"/connection/websocket" + query, ""},
		{"/" + secretPath + query, ""},
	} {
		method := http.MethodGet
		if r.body != "" {
			method = http.MethodPost
		}
		resp := w.do(method, r.path, r.body, "Origin", "https://hush-origin-4711.example", "Cookie", "x="+secretData)
		_ = resp.Body.Close()
		resp = w.do(method, r.path, r.body)
		_ = resp.Body.Close()
	}
}

// callAPI calls methods rightly and wrongly.
func callAPI(w *way, good string) {
	w.t.Helper()
	publish := fmt.Sprintf(`{"channel":%q,"data":%q,"idempotency_key":%q,"tags":{"k":%q}}`, secretChannel, secretData, secretID, secretTag)
	w.api("publish", publish)
	w.api("batch", `{"commands":[{"publish":`+publish+`}]}`)
	w.api("disconnect", fmt.Sprintf(`{"user":%q}`, secretUser))
	w.api("subscribe", fmt.Sprintf(`{"user":%q,"channel":%q,"info":%q}`, secretUser, secretChannel, secretInfo))
	for _, r := range []struct{ path, key, body string }{
		{"publish", apiKey, publish[:len(publish)-1]},
		{"publish", apiKey, `{"channel":"` + secretSpace + `:x","data":"` + secretData + `"}`},
		{"publish", apiKey, `{"` + secretData + `":1}`},
		{secretPath, apiKey, publish},
		{"publish", secretKey, publish},
		{"publish?api_key=" + secretKey, good, publish},
	} {
		_ = w.do(http.MethodPost, "/api/"+r.path, r.body, "X-API-Key", r.key).Body.Close()
	}
}

// TestListeners holds each listener to what it answers and what it does not.
func TestListeners(t *testing.T) {
	t.Parallel()
	operator := []string{"/metrics", "/health/live", "/health/ready", "/health/startup"}
	profiles := []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap"}
	doors := []string{"/", "/connection/uni_sse", "/connection/websocket", "/api/info", "/emulation"}
	for name, args := range map[string][]string{"dev": {"--dev"}, "closed": {"--set", "auth.anonymous=true"}} {
		server := serve(t, "", args...)
		for _, path := range append(operator, profiles...) {
			if code := status(t, server.adminHTTP(path)); code != http.StatusOK {
				t.Errorf("%s: the admin listener answers %s with %d", name, path, code)
			}
		}
		for _, path := range doors {
			if code := status(t, server.adminHTTP(path)); code != http.StatusNotFound {
				t.Errorf("%s: the admin listener answers %s with %d", name, path, code)
			}
		}
		want := http.StatusNotFound
		if name == "dev" {
			want = http.StatusOK
		}
		for _, path := range operator {
			if code := status(t, server.http(path)); code != want {
				t.Errorf("%s: the main listener answers %s with %d, want %d", name, path, code, want)
			}
		}
		for _, path := range profiles {
			if code := status(t, server.http(path)); code != http.StatusNotFound {
				t.Errorf("%s: the main listener answers %s with %d", name, path, code)
			}
		}
	}
}
