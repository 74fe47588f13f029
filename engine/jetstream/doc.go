// Package jetstream is the engine that several nodes share: channels kept in
// NATS JetStream and carried by core NATS.
package jetstream
