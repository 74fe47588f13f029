package auth

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Addr is the address of a client. The zero Addr is unknown, and in no ban.
type Addr = netip.Addr

// BanKind is what a ban keeps out.
type BanKind string

// The kinds of ban. They are kept and sent to callers of the API.
const (
	// BanUser keeps a user out, whatever its tokens.
	BanUser BanKind = "user"
	// BanUserTokens refuses the tokens of a user that were issued up to a time,
	// and those that do not say when they were.
	BanUserTokens BanKind = "user_tokens"
	// BanToken refuses the tokens of one id (claim "jti").
	BanToken BanKind = "token"
	// BanAddress keeps out who comes from an address, or a range of them.
	BanAddress BanKind = "address"
)

// MaxReasonBytes is how long the reason of a ban may be: it ends up in a close
// frame of a WebSocket.
const MaxReasonBytes = 80

// Ban is one thing that is kept out.
type Ban struct {
	Kind BanKind `json:"kind"`
	// Value is the user, the token's id, or the address or range (CIDR).
	Value string `json:"value"`
	// IssuedBefore is, of BanUserTokens, the last Unix second whose tokens are
	// refused.
	IssuedBefore int64 `json:"issued_before,omitempty"`
	// ExpiresAt is when it ends, in Unix seconds; 0 is never.
	ExpiresAt int64 `json:"expire_at,omitempty"`
	// Reason is what the client is told.
	Reason string `json:"reason,omitempty"`
	// Configured: it comes from the configuration of the node and cannot be
	// taken back.
	Configured bool `json:"configured,omitempty"`
}

// Check returns the ban in its one spelling, or what is wrong with it.
func (b Ban) Check() (Ban, error) {
	switch {
	case b.Value == "":
		return b, fmt.Errorf("%s: is empty", b.Kind)
	case len(b.Value) > maxIDBytes:
		return b, fmt.Errorf("%s: has %d bytes, at most %d are allowed", b.Kind, len(b.Value), maxIDBytes)
	case len(b.Reason) > MaxReasonBytes:
		return b, fmt.Errorf("reason: has %d bytes, at most %d are allowed", len(b.Reason), MaxReasonBytes)
	case b.ExpiresAt < 0 || b.ExpiresAt > lastSecond:
		return b, fmt.Errorf("expire_at: is no time in Unix seconds")
	case b.IssuedBefore < 0 || b.IssuedBefore > lastSecond:
		return b, fmt.Errorf("issued_before: is no time in Unix seconds")
	}
	switch b.Kind {
	case BanUser, BanToken, BanUserTokens:
	case BanAddress:
		p, err := ParsePrefix(b.Value)
		if err != nil {
			return b, err
		}
		b.Value = p.String()
		if p.IsSingleIP() {
			b.Value = p.Addr().String()
		}
	default:
		return b, fmt.Errorf("%s is no kind of ban", quote(string(b.Kind)))
	}
	if b.Kind != BanUserTokens {
		b.IssuedBefore = 0
	}
	return b, nil
}

// ParsePrefix reads an address or a range of addresses.
func ParsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return p, fmt.Errorf("%s is no range of addresses, want something like 192.0.2.0/24 or 2001:db8::/32", quote(text))
		}
		if p.Addr().Is4In6() {
			return p, fmt.Errorf("%s is an IPv4 range in IPv6, write it as IPv4", quote(text))
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%s is no address, want something like 192.0.2.7, 2001:db8::7 or 192.0.2.0/24", quote(text))
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// over reports whether the ban has ended.
func (b *Ban) over(now time.Time) bool { return b.ExpiresAt != 0 && now.Unix() >= b.ExpiresAt }

// Bans is a list of bans that is looked up in much more often than it changes.
// It may be used from many goroutines.
type Bans struct {
	configured []Ban

	mu struct {
		sync.RWMutex
		known  bool
		byKind map[BanKind]map[string]Ban
		ranges map[netip.Prefix]Ban
		// bits are the lengths of the ranges there are, or were.
		bits4, bits6 []int
	}
}

// NewBans returns the list of those that a configuration has. It does not know
// yet which others there are: until Replace is called, Known says no.
func NewBans(configured []Ban) (*Bans, error) {
	b := new(Bans)
	for _, c := range configured {
		c, err := c.Check()
		if err != nil {
			return nil, err
		}
		c.Configured = true
		b.configured = append(b.configured, c)
	}
	return b, nil
}

func banKinds() []BanKind { return []BanKind{BanUser, BanUserTokens, BanToken, BanAddress} }

// Known reports whether Replace has been called.
func (b *Bans) Known() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.mu.known
}

// Replace makes bans the whole list, beside those configured, and returns
// those that were not in it before. Those that cannot be read are left out, and
// counted.
func (b *Bans) Replace(bans []Ban) (added []Ban, unreadable int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.mu.byKind
	b.mu.known = true
	b.mu.byKind, b.mu.ranges = make(map[BanKind]map[string]Ban), make(map[netip.Prefix]Ban)
	b.mu.bits4, b.mu.bits6 = nil, nil
	for _, kind := range banKinds() {
		b.mu.byKind[kind] = make(map[string]Ban)
	}
	for _, ban := range slices.Concat(b.configured, bans) {
		ban, err := ban.Check()
		switch {
		case err != nil:
			unreadable++
		case b.putLocked(ban) && old[ban.Kind][ban.Value] != ban:
			added = append(added, ban)
		}
	}
	return added, unreadable
}

// Put enters a ban, and reports whether it is news.
func (b *Bans) Put(ban Ban) bool {
	ban, err := ban.Check()
	if err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.known && b.mu.byKind[ban.Kind][ban.Value] != ban && b.putLocked(ban)
}

// Remove takes a ban out. One that is configured stays.
func (b *Bans) Remove(kind BanKind, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.mu.byKind[kind]
	if ban, ok := of[value]; !ok || ban.Configured {
		return
	}
	delete(of, value)
	if kind == BanAddress {
		if p, err := ParsePrefix(value); err == nil {
			delete(b.mu.ranges, p)
		}
	}
}

// putLocked enters a ban that was checked. Nothing stands above one that is
// configured.
func (b *Bans) putLocked(ban Ban) bool {
	of := b.mu.byKind[ban.Kind]
	if of[ban.Value].Configured {
		return false
	}
	of[ban.Value] = ban
	if ban.Kind != BanAddress {
		return true
	}
	p, err := ParsePrefix(ban.Value)
	if err != nil {
		return false
	}
	b.mu.ranges[p] = ban
	bits := &b.mu.bits6
	if p.Addr().Is4() {
		bits = &b.mu.bits4
	}
	if !slices.Contains(*bits, p.Bits()) {
		*bits = append(*bits, p.Bits())
	}
	return true
}

// List returns all bans that have not ended, in a fixed order.
func (b *Bans) List() []Ban {
	b.mu.RLock()
	defer b.mu.RUnlock()
	now := time.Now()
	var out []Ban
	for _, kind := range banKinds() {
		of := b.mu.byKind[kind]
		for _, value := range slices.Sorted(maps.Keys(of)) {
			if ban := of[value]; !ban.over(now) {
				out = append(out, ban)
			}
		}
	}
	return out
}

// Find returns the ban of a kind and value, in the spelling of Check, that
// holds now.
func (b *Bans) Find(kind BanKind, value string) (Ban, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.findLocked(kind, value)
}

func (b *Bans) findLocked(kind BanKind, value string) (Ban, bool) {
	ban, ok := b.mu.byKind[kind][value]
	return ban, ok && value != "" && !ban.over(time.Now())
}

// Address returns the ban that an address is in.
func (b *Bans) Address(a Addr) (Ban, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if !a.IsValid() || len(b.mu.ranges) == 0 {
		return Ban{}, false
	}
	a = a.Unmap().WithZone("")
	bits := b.mu.bits6
	if a.Is4() {
		bits = b.mu.bits4
	}
	now := time.Now()
	for _, n := range bits {
		p, _ := a.Prefix(n)
		if ban, ok := b.mu.ranges[p]; ok && !ban.over(now) {
			return ban, true
		}
	}
	return Ban{}, false
}

// Identity returns the ban that a connection is in by its token.
func (b *Bans) Identity(id *Identity) (Ban, bool) {
	if id == nil {
		return Ban{}, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if ban, ok := b.findLocked(BanUser, id.User); ok {
		return ban, true
	}
	return b.tokenLocked(id.User, id.TokenID, id.IssuedAt)
}

// Grant returns the ban that a subscription token of a user is in.
func (b *Bans) Grant(user string, g *Grant) (Ban, bool) {
	if g == nil {
		return Ban{}, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.tokenLocked(user, g.TokenID, g.IssuedAt)
}

// tokenLocked returns the ban that a token of a user is in.
func (b *Bans) tokenLocked(user, id string, issued int64) (Ban, bool) {
	if ban, ok := b.findLocked(BanToken, id); ok {
		return ban, true
	}
	if ban, ok := b.findLocked(BanUserTokens, user); ok && issued <= ban.IssuedBefore {
		return ban, true
	}
	return Ban{}, false
}

type addressKey struct{}

// WithAddress returns a context that knows the address of the client behind a
// request.
func WithAddress(ctx context.Context, a Addr) context.Context {
	return context.WithValue(ctx, addressKey{}, a)
}

// AddressOf returns the address of the client behind a request: that of its
// context where somebody looked behind the proxies, else that of its connection.
func AddressOf(r *http.Request) Addr {
	if a, ok := r.Context().Value(addressKey{}).(Addr); ok {
		return a
	}
	return ParseAddress(r.RemoteAddr)
}

// ParseAddress reads host:port, or an address alone; what is neither is the
// zero Addr.
func ParseAddress(text string) Addr {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, _ := netip.ParseAddr(text)
	return a.Unmap().WithZone("")
}
