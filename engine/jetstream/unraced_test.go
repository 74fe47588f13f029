//go:build !race

package jetstream_test

const raced = false
