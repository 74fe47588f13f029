package api_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"myelin/hub"
)

// anyJSON draws a value as encoding/json decodes them.
func anyJSON(t *rapid.T, depth int) any {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "flag")
	case 2:
		return float64(rapid.Int32().Draw(t, "number"))
	case 3:
		return rapid.String().Draw(t, "text")
	case 4:
		l := make([]any, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range l {
			l[i] = anyJSON(t, depth-1)
		}
		return l
	default:
		m := make(map[string]any)
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			m[rapid.String().Draw(t, "name")] = anyJSON(t, depth-1)
		}
		return m
	}
}

// TestWhatIsRightIsTaken: however a right request is spelled, what is kept is
// what it said.
func TestWhatIsRightIsTaken(t *testing.T) {
	r := newRig(t, hub.Limits{MessageBytes: 1 << 20})
	rapid.Check(t, func(rt *rapid.T) {
		type said struct {
			Data any               `json:"data"`
			Tags map[string]string `json:"tags"`
		}
		want := said{Data: anyJSON(rt, 4), Tags: rapid.MapOfN(rapid.String(), rapid.String(), 1, 4).Draw(rt, "tags")}
		parts := map[string]any{"channel": "a", "data": want.Data, "tags": want.Tags}
		body, err := json.Marshal(parts)
		if err != nil {
			rt.Fatal(err)
		}
		if rapid.Bool().Draw(rt, "spread") {
			var spread bytes.Buffer
			if err := json.Indent(&spread, body, " \r\n", "\t"); err != nil {
				rt.Fatal(err)
			}
			body = spread.Bytes()
		}
		r.call(t, "publish", string(body))
		var kept struct{ Publications []said }
		if err := json.Unmarshal([]byte(r.call(t, "history", `{"channel":"a","limit":1,"reverse":true}`)), &kept); err != nil {
			rt.Fatal(err)
		}
		if got := kept.Publications[0]; !reflect.DeepEqual(got, want) {
			rt.Fatalf("kept %#v, published %#v", got, want)
		}
	})
}
