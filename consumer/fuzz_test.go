package consumer_test

import (
	"encoding/base64"
	"testing"

	"myelin/consumer"
)

// What was signed is read as it was, and nothing else is read.
func FuzzToken(f *testing.F) {
	secret := []byte("secret")
	f.Add(consumer.Sign(secret, "$consumers:w~jobs:a", "e1", 7), "w", "jobs:a", "e1", uint64(7))
	f.Add("AAAA", "", "", "", uint64(0))
	f.Fuzz(func(t *testing.T, token, name, source, epoch string, offset uint64) {
		if full, _, _, err := consumer.Verify(secret, token); err == nil {
			if b, bad := base64.RawURLEncoding.DecodeString(token); bad != nil || len(b) < 18 {
				t.Errorf("%q was taken for one of %q", token, full)
			}
		}
		if len(epoch) > 64 {
			return // no engine has one
		}
		full, err := consumer.Channel(name, source)
		if err != nil {
			return
		}
		if n, s, err := consumer.Parse(full); err != nil || n != name || s != source {
			t.Errorf("%q is read as %q, %q, %v", full, n, s, err)
		}
		own := consumer.Sign(secret, full, epoch, offset)
		if f, e, o, err := consumer.Verify(secret, own); err != nil || f != full || e != epoch || o != offset {
			t.Errorf("%q is read as %q, %q, %d, %v", own, f, e, o, err)
		}
		if _, _, _, err := consumer.Verify([]byte("another"), own); err == nil {
			t.Error("a token of another secret was taken")
		}
	})
}
