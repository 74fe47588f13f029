package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"myelin/channel"
	"myelin/door/api"
	"myelin/hub"
)

func TestPublishReachesSubscribersAndIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		r.call(t, "subscribe", `{"user":"ann","channel":"news"}`)
		c.wantHeard(t, "sub news at 0 recoverable true data ")
		got := r.call(t, "publish", `{"channel":"news","data":{"a": "<é>"},"tags":{"k":"v"}}`)
		if !strings.HasPrefix(got, `{"offset":1,"epoch":"`) {
			t.Errorf("the result is %s", got)
		}
		c.wantHeard(t, `pub news 1 {"a": "<é>"}`)
		if got := r.call(t, "history", `{"channel":"news","limit":1}`); !strings.Contains(got, `{"data":{"a":"<é>"},"offset":1,"tags":{"k":"v"}}`) {
			t.Errorf("history is %s", got)
		}
	})
}

func TestPublishTakesAnyJSON(t *testing.T) {
	r := newRig(t, hub.Limits{})
	for _, data := range []string{`null`, `0`, `-1.5e9`, `"x"`, `[]`, `{}`, `true`, `"\ud800"`, ` [ 1 , {"a":1,"a":2} ] `} {
		r.call(t, "publish", `{"channel":"any","data":`+data+`}`)
		got := r.call(t, "history", `{"channel":"any","limit":1,"reverse":true}`)
		if want := `"data":` + strings.ReplaceAll(data, " ", ""); !strings.Contains(got, want) {
			t.Errorf("published %s, kept %s", data, got)
		}
	}
}

func TestPublishTakesBytes(t *testing.T) {
	r := newRig(t, hub.Limits{})
	for data, want := range map[string]string{
		"AAH/":         `{"$b64":"AAH/"}`,
		"eyJhIjoxfQ==": `{"a":1}`,
	} {
		r.call(t, "publish", `{"channel":"bytes","data":null,"b64data":"`+data+`"}`)
		if got := r.call(t, "history", `{"channel":"bytes","limit":1,"reverse":true}`); !strings.Contains(got, `"data":`+want) {
			t.Errorf("published %s, kept %s", data, got)
		}
	}
}

func TestPublishIsIdempotentByKey(t *testing.T) {
	r := newRig(t, hub.Limits{})
	for _, name := range []string{"once", "plain:once"} {
		body := `{"channel":"` + name + `","data":1,"idempotency_key":"k"}`
		first := r.call(t, "publish", body)
		if again := r.call(t, "publish", body); again != first {
			t.Errorf("%s: the retry gave %s, the first %s", name, again, first)
		}
	}
	if got := r.call(t, "history", `{"channel":"once","limit":-1}`); strings.Count(got, "data") != 1 {
		t.Errorf("kept %s", got)
	}
}

func TestPublishRefuses(t *testing.T) {
	r := newRig(t, hub.Limits{MessageBytes: 1024})
	long := strings.Repeat("x", 1024)
	for body, want := range map[string]struct {
		code  channel.Code
		words string
	}{
		`{"data":1}`:                                                      {channel.CodeBadRequest, "channel name is empty"},
		`{"channel":null,"data":1}`:                                       {channel.CodeBadRequest, "channel name is empty"},
		`{"channel":"a\u0000","data":1}`:                                  {channel.CodeBadRequest, "control character"},
		`{"channel":"` + long[:256] + `","data":1}`:                       {channel.CodeBadRequest, "256 bytes"},
		`{"channel":"no:such","data":1}`:                                  {channel.CodeUnknownChannel, `"no"`},
		`{"channel":"a"}`:                                                 {channel.CodeBadRequest, "data is missing"},
		`{"channel":"a","data":1,"b64data":"AA=="}`:                       {channel.CodeBadRequest, "not both"},
		`{"channel":"a","b64data":"A"}`:                                   {channel.CodeBadRequest, "base64"},
		`{"channel":"a","b64data":"AB=="}`:                                {channel.CodeBadRequest, "base64"},
		`{"channel":"a","data":1,"delta":true}`:                           {channel.CodeUnsupported, "delta"},
		`{"channel":"a","data":1,"version":3}`:                            {channel.CodeUnsupported, "version"},
		`{"channel":"a","data":1,"version_epoch":"e"}`:                    {channel.CodeUnsupported, "version"},
		`{"channel":"a","data":1,"skip_history":true}`:                    {channel.CodeUnsupported, `"default" keeps history`},
		`{"channel":"no:such","data":1,"skip_history":true}`:              {channel.CodeUnknownChannel, `"no"`},
		`{"channel":"a","data":"` + long + `"}`:                           {channel.CodeLimitExceeded, "1026 bytes, at most 1024"},
		`{"channel":"a","data":1,"tags":{"k":"` + long + `"}}`:            {channel.CodeLimitExceeded, "1026 bytes"},
		`{"channel":"a","data":1,"idempotency_key":"` + long[:129] + `"}`: {channel.CodeTooLarge, "129 bytes"},
	} {
		r.fails(t, http.StatusOK, want.code, want.words, "publish", body)
	}
	r.call(t, "publish", `{"channel":"plain:a","data":1,"skip_history":true,"delta":false,"version":0,"version_epoch":"","tags":null}`)
	if got := r.call(t, "history", `{"channel":"a","limit":1}`); !strings.Contains(got, `"offset":0`) {
		t.Errorf("a refused publish was done: %s", got)
	}
}

func TestBroadcastAnswersEachChannel(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.connect(t, "ann")
		r.call(t, "subscribe", `{"user":"ann","channel":"plain:a"}`)
		body := `{"channels":["plain:a","b","no:such","","b"],"data":[1],"tags":{"k":"v"},"idempotency_key":"k"}`
		got := r.call(t, "broadcast", body)
		for _, part := range []string{
			`{"responses":[{"result":{"offset":1,"epoch":"`,
			`{"error":{"code":102,"message":"unknown channel: namespace \"no\" is not configured"}}`,
			`{"error":{"code":107,"message":"bad request: the channel name is empty"}}`,
		} {
			if !strings.Contains(got, part) {
				t.Errorf("no %s in %s", part, got)
			}
		}
		c.wantHeard(t, "sub plain:a at 0 recoverable false data ", "pub plain:a 1 [1]")
		if again := r.call(t, "broadcast", body); again != got {
			t.Errorf("the retry gave %s, the first %s", again, got)
		}
		c.wantHeard(t)
	})
}

func TestBroadcastManyChannels(t *testing.T) {
	r := newRig(t, hub.Limits{MessageBytes: 1 << 20})
	names := make([]string, api.MaxBroadcastChannels)
	for i := range names {
		names[i] = fmt.Sprintf("%q", fmt.Sprint("c", i))
	}
	body := func() string { return `{"channels":[` + strings.Join(names, ",") + `],"data":1}` }
	got := r.call(t, "broadcast", body())
	if n := strings.Count(got, `"offset":1`); n != len(names) {
		t.Errorf("%d of %d channels were published to", n, len(names))
	}
	names = slices.Insert(names, 0, `"one-too-many"`)
	r.fails(t, http.StatusRequestEntityTooLarge, channel.CodeLimitExceeded, "10001 channels", "broadcast", body())
	if got := r.call(t, "history", `{"channel":"one-too-many"}`); !strings.Contains(got, `"offset":0`) {
		t.Errorf("a refused broadcast was done: %s", got)
	}
}

func TestBroadcastRefuses(t *testing.T) {
	r := newRig(t, hub.Limits{})
	for body, want := range map[string]struct {
		code  channel.Code
		words string
	}{
		`{"data":1}`:                               {channel.CodeBadRequest, "names no channel"},
		`{"channels":[],"data":1}`:                 {channel.CodeBadRequest, "names no channel"},
		`{"channels":["a"]}`:                       {channel.CodeBadRequest, "data is missing"},
		`{"channels":["a"],"data":1,"delta":true}`: {channel.CodeUnsupported, "delta"},
	} {
		r.fails(t, http.StatusOK, want.code, want.words, "broadcast", body)
	}
	got := r.call(t, "broadcast", `{"channels":["plain:a","b"],"data":1,"skip_history":true}`)
	if strings.Count(got, `"result"`) != 1 || !strings.Contains(got, `"code":1003`) {
		t.Errorf("skip_history gave %s", got)
	}
}
