package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	maxOrigins     = 256
	maxOriginBytes = MaxPatternBytes
)

// Origins are the web pages that may connect. It is read-only once made.
type Origins struct {
	any, null bool
	patterns  []origin
}

// origin is a parsed Origin header, or a pattern of one.
type origin struct {
	scheme, host, port string
}

// NewOrigins reads patterns of origins and reports everything wrong with them
// at once. A pattern is one of
//
//   - "https://example.com", with the port when it is not the scheme's own;
//   - "https://*.example.com", every name below example.com, not itself;
//   - "https://app-*.example.com", a star inside a label stands for any run of
//     characters but the dot, and is not allowed in the last two labels;
//   - "http://localhost:*", any port, and "https://*", any host;
//   - "null", what a browser sends for a page without an origin;
//   - "*", any origin.
//
// An empty list stands for the origin of the server itself, whatever name the
// browser called it by. That trusts the Host header, which a page can forge
// against a server on the visitor's own machine by rebinding its name: a
// server that lets anonymous clients do things should list its origins. A list
// that is not empty is the whole truth, the server's own origin included.
func NewOrigins(patterns []string) (*Origins, error) {
	if len(patterns) > maxOrigins {
		return nil, fmt.Errorf("%d origins are listed, at most %d are allowed", len(patterns), maxOrigins)
	}
	o := &Origins{}
	var errs []error
	for _, pattern := range patterns {
		switch pattern {
		case "*":
			o.any = true
		case "null":
			o.null = true
		default:
			p, err := parseOriginPattern(pattern)
			if err != nil {
				errs = append(errs, fmt.Errorf("origin %s: %w", quote(pattern), err))
				continue
			}
			o.patterns = append(o.patterns, p)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return o, nil
}

// Allow says whether the request may connect. One without an Origin header is
// no browser's and may, unless a browser says that another site's page had it
// made (Sec-Fetch-Site, W3C Fetch Metadata): an image or a plain link sends no
// Origin. One with two is nobody's and may not.
func (o *Origins) Allow(r *http.Request) bool {
	header := r.Header.Values("Origin")
	switch {
	case len(header) > 1:
		return false
	case o.any:
		return true
	case len(header) == 0:
		site := r.Header.Get("Sec-Fetch-Site")
		return site != "cross-site" && site != "same-site"
	case header[0] == "null":
		return o.null
	case strings.Contains(header[0], "*"):
		return false // stars are for patterns
	}
	from, err := parseOrigin(header[0])
	if err != nil {
		return false
	}
	if len(o.patterns) == 0 && !o.null {
		return from.serves(r.Host)
	}
	return slices.ContainsFunc(o.patterns, func(p origin) bool { return p.matches(from) })
}

// serves says whether the origin is at the host that the request was sent to.
// The scheme is not compared, because a proxy in front may have ended TLS.
func (o origin) serves(host string) bool {
	at, err := parseOrigin(o.scheme + "://" + host)
	return err == nil && at == o
}

func (o origin) matches(from origin) bool {
	if o.scheme != from.scheme || (o.port != "*" && o.port != from.port) {
		return false
	}
	switch {
	case o.host == "*":
		return true
	case strings.HasPrefix(o.host, "*."):
		// The first star stands for one label or more, any other for a part of
		// one.
		return glob("*"+o.host, from.host, '.')
	}
	return glob(o.host, from.host, '.')
}

// parseOrigin reads scheme://host[:port]. Ports that belong to the scheme are
// written out, so that two spellings of one origin compare equal.
func parseOrigin(s string) (origin, error) {
	if len(s) > maxOriginBytes {
		return origin{}, fmt.Errorf("has %d bytes, at most %d are allowed", len(s), maxOriginBytes)
	}
	scheme, rest, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok || scheme == "" {
		return origin{}, errors.New(`has no scheme, want something like "https://example.com"`)
	}
	if at := strings.IndexFunc(scheme, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.'
	}); at >= 0 {
		return origin{}, fmt.Errorf("has %q in its scheme", scheme[at])
	}
	host, port, err := splitPort(rest)
	if err != nil {
		return origin{}, err
	}
	if port == "" {
		port = schemePort(scheme)
	}
	return origin{scheme: scheme, host: host, port: port}, nil
}

func splitPort(hostport string) (host, port string, err error) {
	host = hostport
	end := strings.LastIndexByte(hostport, ']')
	if colon := strings.LastIndexByte(hostport, ':'); colon > end {
		host, port = hostport[:colon], hostport[colon+1:]
		if port != "*" {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				return "", "", fmt.Errorf("has the port %s, want a number up to 65535", quote(port))
			}
			port = strconv.FormatUint(n, 10)
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !ok || err != nil || !addr.Is6() {
			return "", "", fmt.Errorf("has the host %s, which is no IPv6 address", quote(host))
		}
		return "[" + addr.String() + "]", port, nil
	}
	return host, port, checkHostName(host)
}

func checkHostName(host string) error {
	for _, c := range host {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '*':
		case c == '/':
			return errors.New("has a path, an origin ends after the host and port")
		case c > '~':
			return errors.New("has a host that is not ASCII, write it as browsers send it, in its xn-- form")
		default:
			return fmt.Errorf("has %q in its host", c)
		}
	}
	if host == "" || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return fmt.Errorf("has the host %s, in which a label is empty", quote(host))
	}
	return nil
}

func schemePort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}

func parseOriginPattern(pattern string) (origin, error) {
	o, err := parseOrigin(pattern)
	switch {
	case err != nil:
		return origin{}, err
	case o.scheme == "ws" || o.scheme == "wss":
		return origin{}, fmt.Errorf(`has the scheme %q, but a browser sends that of the page: want "http%s://..."`, o.scheme, o.scheme[2:])
	case o.host == "*" || !strings.Contains(o.host, "*"):
		return o, nil
	case strings.Contains(o.host, "**"):
		return origin{}, errors.New(`has "**" in its host, one star is enough`)
	case net.ParseIP(strings.ReplaceAll(o.host, "*", "1")) != nil:
		return origin{}, errors.New("has a star in an address, list the addresses one by one")
	}
	labels := strings.Split(o.host, ".")
	fixed := max(len(labels)-2, 0)
	if labels[0] == "*" {
		fixed = max(fixed, 1)
	}
	for i, label := range labels {
		star := strings.Contains(label, "*")
		switch {
		case star && i > 0 && label == "*":
			return origin{}, errors.New("has a star in place of an inner label, it may stand only in place of the first")
		case star && i >= fixed:
			return origin{}, fmt.Errorf(`has a star in %q, which would let foreign domains in: want "*." and a whole domain, like "*.example.com"`, label)
		}
	}
	return o, nil
}
