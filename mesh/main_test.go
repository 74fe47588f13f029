package mesh_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain has more tests wait beside each other than there are processors:
// that is most of what they do.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}
