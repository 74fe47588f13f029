package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"myelin/auth"
)

// checkForm checks text that has a syntax of its own.
func checkForm(form, text string) *fault {
	if !utf8.ValidString(text) {
		return faultf("the text is not valid UTF-8")
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return faultf("the text holds a control character, perhaps a line break at its end")
	}
	switch form {
	case "address":
		return checkAddress(text)
	case "origin":
		return checkOrigin(text)
	case "url":
		return checkURL(text)
	case "NATS URL":
		return checkNATS(text)
	case "peer":
		return checkPeer(text)
	case "header":
		return checkHeader(text)
	case "namespace":
		return checkNamespace(text)
	case "node":
		return checkName(text, mostNode, "-_.")
	case "prefix":
		return checkName(text, mostPrefix, "-_")
	case "addresses":
		return checkAddresses(text)
	case "secret":
		if text == Redacted {
			return faultf("%s is the placeholder that config print writes, not a secret", Redacted)
		}
	case "filled":
		if text == "" {
			return faultf("must not be empty")
		}
	}
	return nil
}

func checkAddress(text string) *fault {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		f := faultf("expected host:port such as 127.0.0.1:8000, got %s", quote(text))
		switch {
		case plainDigits(text):
			f.suggestion = "127.0.0.1:" + text
		case text != "" && !strings.ContainsAny(text, ":/ "):
			f.suggestion = net.JoinHostPort(text, "8000")
		}
		return f
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return faultf("expected a port from 0 to 65535, got %s", quote(port))
	}
	return nil
}

// checkOrigin asks the room that will match it.
func checkOrigin(text string) *fault {
	_, err := auth.NewOrigins([]string{text})
	if err == nil {
		return nil
	}
	f := faultf("%v", err)
	scheme, host, found := strings.Cut(text, "://")
	trimmed := strings.TrimRight(host, "/")
	switch {
	case !found:
		f.suggestion = "https://" + text
	case trimmed != host:
		f.suggestion = scheme + "://" + trimmed
	}
	if _, err := auth.NewOrigins([]string{f.suggestion}); err != nil || len(text) > longestWord {
		f.suggestion = ""
	}
	return f
}

func checkURL(text string) *fault {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return faultf("expected an address such as https://example.com/path")
	case u.User != nil:
		return faultf("the address must not hold a name or a password")
	}
	return nil
}

// checkNATS checks the address of a NATS server.
func checkNATS(text string) *fault {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls":
		return faultf("expected an address such as nats://10.0.0.5:4222 or tls://nats.example.com:4222")
	case u.User != nil:
		return faultf("the address must not hold a name or a password; use user and password, token or credentials_file")
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return faultf("the address ends with its port")
	}
	return nil
}

// checkPeer checks an address that others are reached at.
func checkPeer(text string) *fault {
	if f := checkAddress(text); f != nil {
		f.suggestion = ""
		return faultf("expected host:port such as 10.0.0.5:8002, got %s", quote(text))
	}
	if host, port, _ := net.SplitHostPort(text); host == "" || port == "0" {
		return faultf("expected host:port such as 10.0.0.5:8002, got %s: others have to find it", quote(text))
	}
	return nil
}

// The longest name of a node, and the longest prefix.
const (
	mostNode   = 64
	mostPrefix = 32
)

// checkName checks a name of ASCII letters, digits and some more characters,
// which neither begin nor end it.
func checkName(text string, most int, more string) *fault {
	for i, r := range text {
		alphanumeric := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !alphanumeric && (i == 0 || i == len(text)-1 || !strings.ContainsRune(more, r)) {
			return faultf("%s cannot be used: letters, digits and %s within", quote(text), strings.Join(strings.Split(more, ""), " "))
		}
	}
	if text == "" || len(text) > most {
		return faultf("expected 1 to %d characters", most)
	}
	return nil
}

// CheckNode returns what is wrong with the name of a node, nil for nothing.
func CheckNode(name string) error {
	if f := checkName(name, mostNode, "-_."); f != nil {
		return errors.New(f.message)
	}
	return nil
}

// checkNamespace checks a namespace's name.
func checkNamespace(name string) *fault {
	const most = 64
	for i, r := range name {
		alphanumeric := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !alphanumeric && (i == 0 || r != '-' && r != '_') {
			return faultf("%s cannot name a namespace: letters, digits, - and _, beginning with a letter or digit", quote(name))
		}
	}
	if name == "" || len(name) > most {
		return faultf("the name of a namespace has 1 to %d characters", most)
	}
	return nil
}

// Loopback says whether a listen address can be reached from this machine
// only. A name other than localhost is not looked up and counts as reachable.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// checkHeader checks the name of a header that is handed on.
func checkHeader(name string) *fault {
	if flt := checkName(name, mostNode, "-_"); flt != nil {
		return flt
	}
	switch strings.ToLower(name) {
	case "host", "connection", "upgrade", "content-length", "content-type", "transfer-encoding", "te", "trailer", "x-myelin-signature", "x-myelin-id":
		return faultf("%s belongs to each request itself and cannot be handed on", name)
	}
	return nil
}
