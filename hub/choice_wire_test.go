package hub_test

import (
	"encoding/json"
	"strings"
	"testing"

	"myelin/auth"
	"myelin/hub"
)

// TestFiltersGoToOtherNodes: a request that another node carries out means the
// same there, and one without filters looks as it did before there were any.
func TestFiltersGoToOtherNodes(t *testing.T) {
	r := hub.SubscribeRequest{
		Channel: "log:x", Filter: is(t, "a", "1"), Delta: true, Numeric: true,
		Grant: &auth.Grant{Channel: "log:x", SubOptions: auth.SubOptions{Filter: is(t, "b", "2")}},
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got hub.SubscribeRequest
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !got.Filter.Equal(r.Filter) || !got.Grant.Filter.Equal(r.Grant.Filter) || !got.Delta || !got.Numeric {
		t.Errorf("%s comes back as %+v", b, got)
	}
	b, err = json.Marshal(hub.SubscribeRequest{Channel: "log:x", Grant: &auth.Grant{}})
	if err != nil || strings.Contains(string(b), "Filter") || strings.Contains(string(b), "Delta") {
		t.Errorf("%s %v", b, err)
	}
}
