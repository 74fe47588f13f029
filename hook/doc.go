// Package hook is the way to the user's own backend, by HTTP.
//
// # Nouns
//
// A [Caller] asks: may this client connect, subscribe, publish, go on, and what
// is the answer to this rpc. It is the hooks of hub and conversation. Each hook
// has a [Call], which says where and how, and a breaker. A [Sender] tells: it
// reads the lifecycle channel behind a durable cursor and posts what is there
// to a webhook. A [Signature] lets the receiver know that both come from here.
//
// # Promises
//
// A hook is asked once: no retries, no redirects. What the backend says is done;
// where it says nothing useful (it cannot be reached, is late, answers with
// another status than 200, with something that is no answer, or with more than
// [MaxAnswer]) the hook's own rule decides: refuse, or allow. After some such
// failures in a row the breaker opens and the rule decides at once; after a
// while one request tries whether the backend is back. At most
// Options.Concurrency requests of a hook are under way, and [MaxCalls] wait or
// are under way in all: what is more is a failure at once, so that a slow
// backend holds up those who wait for it and nobody else.
//
// A webhook gets each publication of the lifecycle channel at least once, in
// order: the next one is sent when the one before was taken. What is not taken
// for Webhook.GiveUp goes to a dead-letter channel and is counted. Of the nodes
// of a cluster one sends, by a lease in the channel that keeps the cursor; it
// changes hands within [leaseFor], and then the last batch may come twice, with
// the same id. What the history did not keep until then is told as lost.
//
// # Concurrency
//
// A Caller may be used by any number of goroutines. A Sender is one goroutine,
// which Run is.
//
// # Errors
//
// Those for clients are *channel.Error and hub.Disconnect. What the backend did
// wrong is logged, at most once a second, and counted; clients do not see it.
package hook
