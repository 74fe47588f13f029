package api_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"myelin/channel"
	"myelin/door/api"
	"myelin/hub"
)

// operation returns what the document says of a method.
func (s *spec) operation(method string) map[string]any {
	return object(at(s.root, "paths", api.Prefix+method, "post"))
}

func (s *spec) requestSchema(method string) any {
	return at(s.operation(method), "requestBody", "content", "application/json", "schema")
}

// answer returns what the document says of the answers with a status.
func (s *spec) answer(method, status string) map[string]any {
	return object(at(s.resolve(at(s.operation(method), "responses", status)), "content", "application/json"))
}

func TestOpenAPINamesTheMethods(t *testing.T) {
	s := readSpec(t)
	var documented []string
	for path, item := range object(s.root["paths"]) {
		documented = append(documented, strings.TrimPrefix(path, api.Prefix))
		if verbs := slices.Collect(maps.Keys(object(item))); !slices.Equal(verbs, []string{"post"}) {
			t.Errorf("%s has %v", path, verbs)
		}
	}
	slices.Sort(documented)
	if !slices.Equal(documented, api.Methods()) {
		t.Errorf("documented are %v, methods are %v", documented, api.Methods())
	}
	for _, method := range documented {
		if id := s.operation(method)["operationId"]; id != method {
			t.Errorf("%s is called %v", method, id)
		}
	}
}

// fields returns the fields of a request schema as api.Fields does.
func (s *spec) fields(t *testing.T, schema any) map[string]string {
	out := make(map[string]string)
	var walk func(place string, schema any)
	walk = func(place string, schema any) {
		m := s.resolve(schema)
		kind, _ := m["type"].(string)
		elem, isMap := m["additionalProperties"].(map[string]any)
		switch {
		case m["type"] == nil:
			kind = "any"
		case isMap:
			kind = "map"
		case kind == "object" && m["additionalProperties"] != false:
			t.Errorf("%s is open, the decoder is not", place)
		}
		if place != "" {
			out[place] = kind
		}
		for name, p := range object(m["properties"]) {
			walk(strings.TrimPrefix(place+"."+name, "."), p)
		}
		switch kind {
		case "array":
			elem = object(m["items"])
		case "map":
		default:
			return
		}
		walk(place+"[]", elem)
	}
	walk("", schema)
	return out
}

func TestOpenAPIHasTheFields(t *testing.T) {
	s := readSpec(t)
	for _, method := range api.Methods() {
		got, want := s.fields(t, s.requestSchema(method)), api.Fields(method)
		if method == "batch" {
			// The commands of a batch are read by the methods they name.
			maps.DeleteFunc(got, func(name, _ string) bool { return strings.HasPrefix(name, "commands[]") })
			delete(want, "commands[]")
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: documented are\n%v, the decoder knows\n%v", method, got, want)
		}
	}
	commands := object(at(s.root, "components", "schemas", "Command", "properties"))
	for _, method := range api.Methods() {
		ref := at(commands[method], "$ref")
		if want := at(s.requestSchema(method), "$ref"); method != "batch" && ref != want {
			t.Errorf("a command %s is %v, its method takes %v", method, ref, want)
		}
	}
	if len(commands) != len(api.Methods())-1 {
		t.Errorf("commands are %v", commands)
	}
}

func TestOpenAPIHasTheBounds(t *testing.T) {
	s := readSpec(t)
	schemas := object(at(s.root, "components", "schemas"))
	for path, want := range map[string]int{
		"BroadcastRequest.properties.channels.maxItems":   api.MaxBroadcastChannels,
		"BatchRequest.properties.commands.maxItems":       api.MaxBatchCommands,
		"DisconnectRequest.properties.whitelist.maxItems": api.MaxWhitelist,
		"Channel.maxLength":                               channel.MaxNameBytes,
		"IdempotencyKey.maxLength":                        channel.MaxIDBytes,
	} {
		if got := at(schemas, strings.Split(path, ".")...); got != float64(want) {
			t.Errorf("%s is %v, not %d", path, got, want)
		}
	}
	text := func(path ...string) string { s, _ := at(s.root, path...).(string); return s }
	for _, where := range [][]string{
		{strconv.Itoa(api.MaxInFlight), "components", "responses", "Busy", "description"},
		{strconv.Itoa(hub.MaxPresence / 1000), "paths", "/api/presence", "post", "description"},
		{strconv.Itoa(api.MaxListedChannels / 1000), "paths", "/api/channels", "post", "description"},
	} {
		if got := text(where[1:]...); !strings.Contains(got, where[0]) {
			t.Errorf("%v does not say %s: %q", where[1:], where[0], got)
		}
	}
}

// TestOpenAPIExamplesWork sends every example to a real door, and holds its
// answer and every example of an answer against the schemas.
func TestOpenAPIExamplesWork(t *testing.T) {
	s := readSpec(t)
	for _, method := range api.Methods() {
		examples := object(at(s.operation(method), "requestBody", "content", "application/json", "examples"))
		if len(examples) == 0 {
			t.Errorf("%s has no example", method)
		}
		for name, e := range examples {
			t.Run(method+" "+name, func(t *testing.T) {
				bubble(t, func(t *testing.T, r *rig) { s.try(t, r, method, at(e, "value")) })
			})
		}
		for status := range object(s.operation(method)["responses"]) {
			a := s.answer(method, status)
			if len(object(a["examples"])) == 0 {
				t.Errorf("%s has no example of %s", method, status)
			}
			for name, e := range object(a["examples"]) {
				if err := s.validate(a["schema"], at(e, "value"), true); err != nil {
					t.Errorf("%s, %s, %s: %v", method, status, name, err)
				}
			}
		}
	}
}

func (s *spec) try(t *testing.T, r *rig, method string, body any) {
	t.Helper()
	r.connect(t, "43")
	r.call(t, "subscribe", `{"client":"`+r.connect(t, "42").ID()+`","channel":"chat","info":{"role":"nurse"}}`)
	r.publish(t, "news", 2)
	if !strings.HasSuffix(method, "_create") {
		r.call(t, "consumer_create", `{"consumer":"pager","channel":"news","start":"first"}`)
		synctest.Wait()
	}
	if err := s.validate(s.requestSchema(method), body, true); err != nil {
		t.Fatalf("the example does not fit its schema: %v", err)
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	status, out := r.send(request(method, string(b)))
	if status != http.StatusOK || strings.Contains(out, `"error"`) {
		t.Fatalf("status %d, %s", status, out)
	}
	if err := s.validate(s.answer(method, "200")["schema"], parse(t, out), true); err != nil {
		t.Errorf("%s does not fit the schema: %v", out, err)
	}
}

// TestOpenAPIErrors causes what the document says of errors, for every method.
func TestOpenAPIErrors(t *testing.T) {
	s := readSpec(t)
	r := newRig(t, hub.Limits{})
	off := api.New(api.Options{Hub: r.hub, Consumers: r.consumers})
	full := `{"x":"` + strings.Repeat("x", api.BodyBytes(r.hub.Limits().MessageBytes)) + `"}`
	for _, method := range api.Methods() {
		causes := map[string]func() (*api.Door, *http.Request){
			"400": func() (*api.Door, *http.Request) { return r.door, request(method, `{"no_such_field":1}`) },
			"401": func() (*api.Door, *http.Request) {
				req := request(method, "{}")
				req.Header.Del("X-API-Key")
				return r.door, req
			},
			"404": func() (*api.Door, *http.Request) { return off, request(method, "{}") },
			"405": func() (*api.Door, *http.Request) {
				req := request(method, "")
				req.Method = http.MethodPut
				return r.door, req
			},
			"413": func() (*api.Door, *http.Request) { return r.door, request(method, full) },
			"415": func() (*api.Door, *http.Request) {
				req := request(method, "{}")
				req.Header.Set("Content-Type", "text/plain")
				return r.door, req
			},
		}
		for status, cause := range causes {
			door, req := cause()
			s.wantAnswer(t, door, req, method, status, status)
		}
		// Those two take time, see TestSlowBody and TestInFlight.
		elsewhere := []string{"200", "408", "503", "default"}
		for status := range object(s.operation(method)["responses"]) {
			if causes[status] == nil && !slices.Contains(elsewhere, status) {
				t.Errorf("%s: nothing causes %s", method, status)
			}
		}
	}
	for method, body := range map[string]string{
		"publish": `{}`, "broadcast": `{}`, "subscribe": `{}`, "unsubscribe": `{}`, "disconnect": `{}`, "refresh": `{}`,
		"presence": `{}`, "presence_stats": `{}`, "presence_users": `{}`, "history": `{}`, "history_remove": `{}`, "channels": `{"pattern":"?"}`,
	} {
		s.wantAnswer(t, r.door, request(method, body), method, "200", "200")
		req := request(method, body)
		req.Header.Set("X-Centrifugo-Error-Mode", "transport")
		s.wantAnswer(t, r.door, req, method, "400", "default")
	}
}

func (s *spec) wantAnswer(t *testing.T, door http.Handler, req *http.Request, method, status, documented string) {
	t.Helper()
	w := httptest.NewRecorder()
	door.ServeHTTP(w, req)
	if got := strconv.Itoa(w.Code); got != status {
		t.Errorf("%s: status %s, want %s: %s", method, got, status, w.Body)
	}
	for name := range object(s.resolve(at(s.operation(method), "responses", documented))["headers"]) {
		if w.Header().Get(name) == "" {
			t.Errorf("%s, %s: no header %s", method, status, name)
		}
	}
	if err := s.validate(s.answer(method, documented)["schema"], parse(t, w.Body.String()), true); err != nil {
		t.Errorf("%s: %s does not fit the schema: %v", method, w.Body, err)
	}
}
