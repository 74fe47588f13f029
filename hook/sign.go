package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// The headers of every request to a backend.
const (
	// HeaderSignature holds "t=<Unix seconds>,v1=<hex>": the HMAC-SHA256 of the
	// time, a dot and the body, by the shared secret.
	HeaderSignature = "X-Myelin-Signature"
	// HeaderID names a delivery of a webhook: a retry has the same.
	HeaderID = "X-Myelin-Id"
)

// Signature returns what HeaderSignature holds for a body at a time.
func Signature(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
