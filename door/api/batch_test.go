package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/door/api"
	"myelin/hub"
)

// replies makes a batch that has to be done.
func (r *rig) replies(t *testing.T, body string) []string {
	t.Helper()
	status, out := r.send(request("batch", body))
	var a struct {
		Replies []json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil || status != http.StatusOK || a.Replies == nil {
		t.Fatalf("%s: status %d, %s", body, status, out)
	}
	all := make([]string, len(a.Replies))
	for i, reply := range a.Replies {
		all[i] = string(reply)
	}
	return all
}

func TestBatchIsDoneInOrder(t *testing.T) {
	r := newRig(t, hub.Limits{})
	got := r.replies(t, `{"commands":[
		{"publish":{"channel":"a","data":1}},
		{"history":{"channel":"a","limit":1}},
		{"publish":{"channel":"no:such","data":1}},
		{"history_remove":{"channel":"a"}},
		{"history":{"channel":"a","limit":1}},
		{"presence_stats":{"channel":"a"}},
		{"info":{}},
		{"broadcast":{"channels":["a","no:such"],"data":2}}
	]}`)
	for i, want := range []string{
		`{"publish":{"offset":1,"epoch":"`,
		`{"history":{"publications":[{"data":1,"offset":1}],"epoch":"`,
		`{"error":{"code":102,"message":"unknown channel: namespace \"no\" is not configured"}}`,
		`{"history_remove":{}}`,
		`{"history":{"publications":[],"epoch":"`,
		`{"presence_stats":{"num_clients":0,"num_users":0}}`,
		`{"info":{"nodes":[{`,
		`{"broadcast":{"responses":[{"result":{"offset":2,`,
	} {
		if !strings.HasPrefix(got[i], want) {
			t.Errorf("reply %d is %s, want %s", i, got[i], want)
		}
	}
	if got := r.replies(t, `{"commands":[]}`); len(got) != 0 {
		t.Errorf("no commands gave %q", got)
	}
}

func TestBatchInParallelAnswersInPlace(t *testing.T) {
	r := newRig(t, hub.Limits{})
	var b strings.Builder
	const n = 200
	for i := range n {
		fmt.Fprintf(&b, `{"publish":{"channel":"c%d","data":%d}},`, i, i)
	}
	got := r.replies(t, `{"parallel":true,"commands":[`+b.String()+`{"publish":{}}]}`)
	if len(got) != n+1 || !strings.Contains(got[n], `"code":107`) {
		t.Fatalf("%d replies, the last %s", len(got), got[len(got)-1])
	}
	for i := range n {
		if !strings.HasPrefix(got[i], `{"publish":{"offset":1`) {
			t.Errorf("reply %d is %s", i, got[i])
		}
		if k := r.call(t, "history", fmt.Sprintf(`{"channel":"c%d","limit":1}`, i)); !strings.Contains(k, fmt.Sprintf(`"data":%d,`, i)) {
			t.Errorf("channel %d holds %s", i, k)
		}
	}
}

// TestBatchIsReadAsAWhole: one command that cannot be read, and none is done.
func TestBatchIsReadAsAWhole(t *testing.T) {
	r := newRig(t, hub.Limits{})
	for command, words := range map[string]string{
		`{"publish":{"chanel":"a"}}`:      "unknown field commands[1].publish.chanel; did you mean channel?",
		`{"publish":{"channel":1}}`:       "commands[1].publish.channel must be text, not 1",
		`{"publish":{"data":1,"data":2}}`: "commands[1].publish.data is given twice",
		`{"publish":[]}`:                  "commands[1].publish must be an object, not a list",
		`{"publsh":{}}`:                   "unknown field commands[1].publsh; did you mean publish?",
		`{"batch":{"commands":[]}}`:       "unknown field commands[1].batch; known are append, block, blocks, broadcast,",
		`{"info":{},"channels":{}}`:       "commands[1] holds info and channels",
		`{"info":{},"info":{}}`:           "commands[1] holds info and info",
		`{}`:                              "commands[1] names no method",
		`{"info":null}`:                   "commands[1].info must be an object, not null",
		`null`:                            "commands[1] must be an object, not null",
		`"info"`:                          "commands[1] must be an object, not text",
		`{"\ud800":{}}`:                   "a name in commands[1] is not text",
	} {
		body := `{"commands":[{"publish":{"channel":"a","data":1}},` + command + `]}`
		r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, words, "batch", body)
	}
	r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, "commands is missing", "batch", `{}`)
	r.fails(t, http.StatusBadRequest, channel.CodeBadRequest, "commands is missing", "batch", `{"commands":null}`)
	if got := r.call(t, "history", `{"channel":"a"}`); !strings.Contains(got, `"offset":0`) {
		t.Errorf("a refused batch was begun: %s", got)
	}
}

func TestBatchHoldsNotTooMuch(t *testing.T) {
	r := newRig(t, hub.Limits{})
	full := strings.TrimSuffix(strings.Repeat(`{"presence_stats":{"channel":"a"}},`, api.MaxBatchCommands), ",")
	if got := r.replies(t, `{"commands":[`+full+`]}`); len(got) != api.MaxBatchCommands {
		t.Errorf("%d replies", len(got))
	}
	r.fails(t, http.StatusRequestEntityTooLarge, channel.CodeLimitExceeded, "10001 commands", "batch", `{"commands":[`+full+`,{"info":{}}]}`)
}

// TestBatchAnswersNotTooMuch: what many reads together may bring is bounded.
func TestBatchAnswersNotTooMuch(t *testing.T) {
	r := newRig(t, hub.Limits{MessageBytes: 2 << 20})
	big := strings.Repeat("x", 2<<20-10)
	for range 5 {
		r.call(t, "publish", `{"channel":"a","data":"`+big+`"}`)
	}
	all := `{"history":{"channel":"a","limit":-1}}`
	got := r.replies(t, `{"commands":[`+strings.Join([]string{all, all, all, all, `{"history":{"channel":"a","limit":1}}`}, ",")+`]}`)
	for i, done := range []bool{true, true, true, false, true} {
		if refused := strings.HasPrefix(got[i], `{"error":{"code":106,`); refused == done {
			t.Errorf("reply %d has %d bytes: %.100s", i, len(got[i]), got[i])
		}
	}
}
