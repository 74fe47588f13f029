package house

import "context"

// Inspect holds the tree at root against the law. The error is about the
// inspection itself, which ends early with ctx; what it finds is in the report.
func Inspect(ctx context.Context, root string) (*Report, error) {
	report := &Report{}
	t, err := readTree(ctx, root, report)
	if err != nil {
		return nil, err
	}
	checkRooms(t, report)
	checkImports(t, report)
	checkReach(t, report)
	checkSizes(t, report)
	checkComments(t, report)
	checkState(t, report)
	report.sort()
	return report, nil
}

// checkState runs the rules that need names resolved.
func checkState(t *tree, report *Report) {
	var units []*unit
	for _, p := range t.packages {
		units = append(units, t.resolve(p)...)
	}
	checkGlobals(t, units, report)
	for _, u := range units {
		checkInit(t, u, report)
		checkSleeps(t, u, report)
	}
}
