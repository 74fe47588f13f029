package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"myelin/auth"
	"myelin/filter"
)

// tokenCommand makes a token, to try things out and for scripts.
type tokenCommand struct {
	User       string        `short:"u" help:"User id (claim sub). Empty is an anonymous user."`
	TTL        time.Duration `default:"1h" help:"How long it is valid; 0 for ever."`
	Channel    string        `help:"Make a subscription token for this channel instead of a connection token."`
	Client     string        `help:"With --channel: for this client id only."`
	Subscribe  []string      `help:"Channels that the server subscribes the connection to (claim channels)." placeholder:"CHANNEL"`
	Allow      []string      `help:"Channels, * and ** included, and what may be done there whatever their namespace says: sub, pub, prs, hst (claim caps). May be repeated; the first that names a channel decides." placeholder:"CHANNELS=VERBS" sep:"none"`
	Filter     string        `help:"JSON filter of what may be seen (claim filter), of the channel or of those of --allow." placeholder:"JSON"`
	Info       string        `help:"JSON that other members of a channel see (claim info)." placeholder:"JSON"`
	Audience   string        `help:"Claim aud."`
	Issuer     string        `help:"Claim iss."`
	Secret     string        `env:"MYELIN_AUTH__TOKENS__HMAC_SECRET" help:"HMAC secret to sign with."`
	PrivateKey string        `placeholder:"FILE" help:"File with a private key to sign with (PEM)."`
	KeyID      string        `name:"key-id" help:"Key id for the header (kid)."`
	Algorithm  string        `help:"Algorithm, by default the key's usual one."`
}

// Run prints the token.
func (c *tokenCommand) Run(s streams) error {
	if err := oneOf("--secret and --private-key", c.Secret != "", c.PrivateKey != ""); err != nil {
		return err
	}
	o := auth.SignerOptions{HMACSecret: c.Secret, KeyID: c.KeyID, Algorithm: c.Algorithm}
	if c.PrivateKey != "" {
		b, err := os.ReadFile(c.PrivateKey)
		if err != nil {
			return asUsage(fmt.Errorf("--private-key: %w", err))
		}
		o.PrivateKeyPEM = b
	}
	signer, err := auth.NewSigner(o)
	if err != nil {
		return asUsage(err)
	}
	claims, err := c.claims(time.Now())
	if err != nil {
		return asUsage(err)
	}
	token, err := signer.Sign(claims)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, token)
	return err
}

// claims returns what the token says.
func (c *tokenCommand) claims(now time.Time) (*auth.Claims, error) {
	claims := &auth.Claims{
		User: c.User, IssuedAt: now.Unix(), Audience: c.Audience, Issuer: c.Issuer,
		Channel: c.Channel, Client: c.Client, Channels: c.Subscribe, Info: json.RawMessage(c.Info),
	}
	switch {
	case c.TTL < 0:
		return nil, fmt.Errorf("--ttl is %v, want how long the token is valid from now, or 0 for ever", c.TTL)
	case c.Client != "" && c.Channel == "":
		return nil, errors.New("--client goes with --channel: only a subscription token can be for one client")
	case c.Channel != "" && len(c.Subscribe)+len(c.Allow) > 0:
		return nil, errors.New("--subscribe and --allow do not go with --channel: a subscription token is for one channel")
	}
	if err := c.filtered(claims); err != nil {
		return nil, err
	}
	for _, text := range c.Allow {
		granted, err := capability(text)
		if err != nil {
			return nil, err
		}
		if claims.Channel == "" {
			granted.Filter = claims.Filter
		}
		claims.Caps = append(claims.Caps, granted)
	}
	if claims.Channel == "" {
		claims.Filter = nil // it is the capabilities'
	}
	if c.TTL > 0 {
		claims.ExpiresAt = now.Add(c.TTL).Unix()
	}
	if c.Info != "" && !json.Valid(claims.Info) {
		return nil, fmt.Errorf("--info is not JSON: %s", c.Info)
	}
	return claims, nil
}

// filtered reads the filter into the claims.
func (c *tokenCommand) filtered(claims *auth.Claims) error {
	if c.Filter == "" {
		return nil
	}
	if c.Channel == "" && len(c.Allow) == 0 {
		return errors.New("--filter goes with --channel or --allow: it is about what may be seen of their channels")
	}
	f, err := filter.Parse([]byte(c.Filter), filter.Limits{})
	if err != nil {
		return fmt.Errorf("--filter %w", err)
	}
	claims.Filter = f
	return nil
}

// capability reads CHANNELS=VERBS. A channel's name may hold an equals sign, a
// verb does not.
func capability(text string) (auth.Capability, error) {
	at := strings.LastIndexByte(text, '=')
	if at < 1 {
		return auth.Capability{}, fmt.Errorf("--allow wants CHANNELS=VERBS, such as 'chat:*=sub,pub', it is %q", text)
	}
	c := auth.Capability{Channels: []string{text[:at]}, Allow: strings.Split(text[at+1:], ",")}
	if strings.Contains(c.Channels[0], "*") {
		c.Match = auth.MatchWildcard
	}
	for _, verb := range c.Allow {
		if _, err := auth.ParseVerb(verb); err != nil {
			return auth.Capability{}, fmt.Errorf("--allow %s: %w", text, err)
		}
	}
	return c, nil
}
