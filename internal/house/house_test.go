package house_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"myelin/internal/house"
)

const root = "../.."

func TestTheHouseKeepsItsLaw(t *testing.T) {
	report, err := house.Inspect(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if report.Packages < 4 || report.Files < 20 {
		t.Fatalf("read %d packages and %d files: the inspector looked past the house", report.Packages, report.Files)
	}
	for _, f := range report.Violations {
		t.Error(f)
	}
	for _, f := range report.Warnings {
		t.Log(f)
	}
}

func TestLicenseIsApache(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Apache License\n                           Version 2.0, January 2004",
		"END OF TERMS AND CONDITIONS",
		"The Myelin Authors",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("LICENSE does not contain %q", want)
		}
	}
}
