package server_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"myelin/channel"
	"myelin/hub"
)

var update = flag.Bool("update", false, "write docs/errors.md anew")

// TestErrorsDocIsCurrent holds docs/errors.md against the tables in the code.
func TestErrorsDocIsCurrent(t *testing.T) {
	path := filepath.Join("..", "docs", "errors.md")
	want := errorsDoc()
	if *update {
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/errors.md is out of date; run go test ./server -run ErrorsDoc -update")
	}
}

func errorsDoc() []byte {
	var b bytes.Buffer
	b.WriteString(`# Codes

Generated from the tables in the code; ` + "`go test ./server -run ErrorsDoc -update`" + ` writes it anew.
Numbers are appended to, never changed. 100 to 399, 2000 to 2999 and 3000 to 3999 are those of the public
client protocol; 1000 to 1999 are Myelin's own. Messages may change: act on codes.

## Errors

The answer to a command or an API call that was refused. *Temporary* means that the same request may succeed later.

| code | text | temporary | meaning |
|---|---|---|---|
`)
	for _, c := range channel.Codes() {
		temporary := ""
		if c.Error.Temporary {
			temporary = "yes"
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", c.Error.Code, c.Error.Message, temporary, c.Meaning)
	}
	b.WriteString(`
## Disconnects

Why a connection was closed. SDKs come back after 3000-3499 and 4000-4499 and stay away after 3500-3999 and 4500-4999.

| code | reason | the client |
|---|---|---|
`)
	for _, d := range hub.Disconnects() {
		then := "comes back"
		if d.Code >= 3500 {
			then = "stays away"
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", d.Code, d.Reason, then)
	}
	b.WriteString(`
A WebSocket may also be closed with the codes of RFC 6455: 1002 for a broken frame, 1007 for text that is not
UTF-8, 1009 for a message over ` + "`limits.message`" + `.

## Unsubscribes

Why the server ended a subscription.

| code | reason | the client |
|---|---|---|
`)
	for _, u := range hub.Unsubscribes() {
		then := "does nothing"
		if u.Code >= 2500 {
			then = "subscribes again"
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", u.Code, u.Reason, then)
	}
	return b.Bytes()
}

// TestEveryCodeIsInTheTable keeps the table whole: a code that is not in it
// would not be documented.
func TestEveryCodeIsInTheTable(t *testing.T) {
	seen := make(map[channel.Code]bool)
	last := channel.Code(0)
	for _, c := range channel.Codes() {
		if c.Error.Code <= last {
			t.Errorf("code %d is out of order", c.Error.Code)
		}
		last = c.Error.Code
		seen[c.Error.Code] = true
	}
	for code := channel.CodeInternal; code <= channel.CodeConcurrentPages; code++ {
		if !seen[code] {
			t.Errorf("code %d is not in the table", code)
		}
	}
	for code := channel.CodeUnavailable; code <= channel.CodeNotSubscribed; code++ {
		if !seen[code] {
			t.Errorf("code %d is not in the table", code)
		}
	}
}
