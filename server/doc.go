// Package server builds the house from a configuration: engine, hub, doors,
// listeners, and their life from start to drain.
//
// # Nouns
//
// A [Server] is one node. [New] assembles it and reports what cannot work,
// Listen takes the addresses, Run serves until its context ends and then
// drains.
//
// # Promises
//
// Nothing listens before everything is assembled. A drain says "not ready"
// first, waits for load balancers to notice, then sends clients away at the
// configured rate with a code that asks them to reconnect, and only then stops
// the hub and the engine. After Run returns no goroutine of the server is left.
package server
