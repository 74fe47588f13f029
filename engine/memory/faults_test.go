package memory_test

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"myelin/channel/channeltest"
)

// fault is a memory engine with one fault, and the checks that must find it.
type fault struct {
	name    string
	plant   func(b *bent)
	foundBy []string
}

func faults() []fault {
	return slices.Concat(
		deliveryFaults(), subscribeFaults(), lifeFaults(), completenessFaults(), readFaults(), byteFaults(), answerFaults(), idFaults(),
		stateFaults(), casFaults(), snapshotFaults(), refusalFaults(), watchFaults(),
	)
}

// walks is how many times a check that walks at random is made. One time in
// twenty it does not come upon the rarest fault.
const walks = 5

// TestPlantedFaultsAreFound proves that the suite can fail: every fault is
// found by the checks that are there for it.
func TestPlantedFaultsAreFound(t *testing.T) {
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		t.Fatal(err)
	}
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			made := bend(f.plant)
			made.Channels = 10_000
			for _, check := range f.foundBy {
				err := channeltest.Examine(t, made, check)
				if strings.HasPrefix(check, "model/") { // a walk comes upon a fault by chance
					for try := 1; err == nil && try < walks; try++ {
						err = channeltest.Examine(t, made, check)
					}
				}
				switch {
				case err == nil:
					t.Errorf("%s passes", check)
				case errors.Is(err, channeltest.ErrLeftOut):
					t.Errorf("%s is left out", check)
				default:
					t.Logf("%s: %v", check, err)
				}
			}
		})
	}
}

// TestEveryCheckFindsAFault proves it for each check of the suite.
func TestEveryCheckFindsAFault(t *testing.T) {
	tried := []string{"lost/feed-cut", "watch/feed-cut"}
	for _, f := range faults() {
		tried = append(tried, f.foundBy...)
	}
	all := channeltest.Checks()
	for _, check := range all {
		if !slices.Contains(tried, check) {
			t.Errorf("no fault is planted for %s", check)
		}
	}
	for _, check := range tried {
		if !slices.Contains(all, check) {
			t.Errorf("there is no check %s", check)
		}
	}
}
