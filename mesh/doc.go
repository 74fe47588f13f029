// Package mesh is the NATS network that the nodes of a cluster talk over.
package mesh
