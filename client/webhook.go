package client

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Why VerifyWebhook refuses.
var (
	ErrSignature = errors.New("the signature is not that of the secret: the request is forged, or its body was changed")
	ErrStale     = errors.New("the signature is too old, or of the future: the request may be a replay")
)

// VerifyWebhook checks that a webhook or hook was sent by who has the secret,
// and within tolerance of now. header is that of X-Myelin-Signature, body the
// request's as it came. A delivery of a webhook may come twice within that
// time: its X-Myelin-Id says so.
func VerifyWebhook(secret, header string, body []byte, now time.Time, tolerance time.Duration) error {
	var at, sum string
	for part := range strings.SplitSeq(header, ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			at = value
		case "v1":
			sum = value
		}
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	given, bad := hex.DecodeString(sum)
	if err != nil || bad != nil {
		return ErrSignature
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	if !hmac.Equal(given, mac.Sum(nil)) {
		return ErrSignature
	}
	if d := now.Sub(time.Unix(seconds, 0)); d > tolerance || d < -tolerance {
		return ErrStale
	}
	return nil
}
