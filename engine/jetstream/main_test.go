package jetstream_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain lets four tests run at once: they wait for servers and for time,
// far more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}
