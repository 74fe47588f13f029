//go:build race

package jetstream_test

// raced: the race detector is on, and everything takes several times as long.
const raced = true
