package client_test

import (
	"errors"
	"testing"
	"time"

	"myelin/client"
)

// The signature is that of the example in package hook.
func TestVerifyWebhook(t *testing.T) {
	const good = "t=1700000000,v1=3947de27ec923573170fccda604ddfb25583ff98dc51e96cca2e11c59545026a"
	const body = `{"events":[]}`
	at := time.Unix(1700000000, 0)
	for _, c := range []struct {
		secret, header, body string
		after                time.Duration
		want                 error
	}{
		{"secret", good, body, 0, nil},
		{"secret", good, body, 5 * time.Minute, nil},
		{"secret", good, body, 5*time.Minute + time.Second, client.ErrStale},
		{"secret", good, body, -6 * time.Minute, client.ErrStale},
		{"other", good, body, 0, client.ErrSignature},
		{"secret", good, body + " ", 0, client.ErrSignature},
		{"secret", "t=1700000001" + good[12:], body, 0, client.ErrSignature},
		{"secret", good[:len(good)-2], body, 0, client.ErrSignature},
		{"secret", "", body, 0, client.ErrSignature},
		{"secret", "t=,v1=", body, 0, client.ErrSignature},
		{"secret", "v1=" + good[16:], body, 0, client.ErrSignature},
		{"secret", "t=99999999999999999999999" + good[12:], body, 0, client.ErrSignature},
	} {
		if err := client.VerifyWebhook(c.secret, c.header, []byte(c.body), at.Add(c.after), 5*time.Minute); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
