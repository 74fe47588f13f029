// Package auth decides who may do what on which channel. It opens no socket
// but the one that fetches a key set, and knows nothing of sessions or wire
// formats.
//
// # Nouns
//
//   - A Verifier checks tokens: JSON Web Tokens signed with HMAC, RSA, ECDSA
//     or Ed25519 keys that are configured or come from a key set (JWKS) that
//     it keeps fresh. A connection token becomes an Identity, a subscription
//     token becomes a Grant. The claims are those that Centrifugo documents.
//   - An Identity is who a connection is and what its token adds: an Info,
//     server-side subscriptions, Capabilities.
//   - A Grant is the right to subscribe to one channel.
//   - A Capability names channels, by name or pattern, and the verbs its
//     bearer may use on them.
//   - Rules are a namespace's four lists of who may use each Verb.
//   - Origins are the web pages that may connect from a browser.
//   - A Signer makes tokens, for the command line and for tests.
//
// # Promises
//
// Everything here may be used from many goroutines. No check of a token ever
// waits for the network: an unknown key id asks the one refresher goroutine
// for a fetch and answers ErrUnavailable, which is temporary. Requests cause
// at most one fetch per Options.JWKSInterval, whatever they carry; on its own
// the refresher fetches every Options.JWKSRefresh, and after a failure again
// after 1 s, 2 s, 4 s, up to Options.JWKSInterval. Keys once loaded are used
// until a newer set is: a fetch that fails, or that brings no usable key,
// changes nothing. Close stops the refresher and waits for it.
//
// A token that is expired, broken or for somebody else is refused with an
// Error that says what was wrong and never repeats the token. No error turns
// anybody into an anonymous user. A connection token without the claim "sub",
// or with an empty one, is a valid token of an anonymous user.
//
// A key verifies only the algorithms that belong to it: an RSA key never
// serves as an HMAC secret, a P-256 key never checks ES384, "none" does not
// exist, and what a JWK says about its use and algorithm binds.
//
// # Limits
//
// Tokens: Options.MaxTokenBytes, checked before anything is parsed. Claims: at
// most 1024 server-side subscriptions, 64 capabilities with 256 channels each,
// user and key ids of 255 bytes. Patterns and channels: 255 bytes, matched in
// time linear in the channel's length. Key sets: a body of 1 MiB, 256 keys, 10
// seconds; 256 key ids being looked for and 1024 known to be absent. Static
// keys: 16. Origins: 256 patterns.
package auth
