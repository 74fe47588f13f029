// Package server builds the house from a configuration: engine, hub, doors,
// listeners, and their life from start to drain.
//
// # Nouns
//
// A [Server] is one node. [New] assembles it as far as its own machine goes and
// reports what cannot work, Listen takes the addresses and joins the network of
// nodes where there is one, Run serves until its context ends and then drains.
//
// # Promises
//
// Nothing listens before all that the configuration names has been read. A node
// of a cluster that waits for the others answers probes (alive, not started)
// and metrics, and turns clients away with 503; once it has come up Started is
// closed and it is ready. It ends with an error where waiting is of no use.
//
// A drain says "not ready" first, hands over what the node leads, waits for load
// balancers to notice, then sends clients away at the configured rate with a code
// that asks them to reconnect, and only then stops the hub, the engine and the
// network, in this order. After Run returns no goroutine of the server is left,
// but for one that the NATS library leaves of each server inside a process.
//
// The admin listener asks for no key. What it can do beside reading is a backup,
// for requests from this machine only; see BackupRequest.
package server
