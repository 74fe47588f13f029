package faults

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"myelin/e2e/faults/history"
)

// report is what scenarios of this run came to, in the order in which they ended.
var report struct {
	sync.Mutex
	rows []row
}

// row is the verdict of one scenario.
type row struct {
	name   string
	faults int
	// held is how long the load was.
	held   time.Duration
	tally  history.Tally
	broken int
	// all is the longest pause of all publishers together around a fault,
	// others that of the publishers of a node that nothing was done to, own
	// that of the publishers of the node that it was done to.
	all, others, own time.Duration
}

// note puts a verdict into the report.
func note(name string, h *history.History, found []history.Violation) {
	r := row{name: name, faults: len(h.Faults), tally: history.Count(h), broken: len(found)}
	for _, p := range h.Publishes {
		r.held = max(r.held, p.Return)
	}
	for _, o := range history.Outages(h) {
		switch o.Node {
		case "":
			r.all = max(r.all, o.Longest)
		case "last":
		case o.Fault.Node:
			r.own = max(r.own, o.Longest)
		default:
			r.others = max(r.others, o.Longest)
		}
	}
	report.Lock()
	defer report.Unlock()
	report.rows = append(report.rows, r)
}

const reportHead = `# Faults

<!-- Written by "make faults". Change e2e/faults instead. -->

What clients were told while servers were broken on purpose, and whether every promise was kept. Real processes under
load from the HTTP API, the Go client of this repository and the public Go client (centrifuge-go), some of which stay
with their node and some of which hop; every acknowledgement, publication and resume is recorded and held against:

- what was acknowledged is read at the end, on every node;
- one offset is one message, one message is one offset; offsets follow the order of the calls;
- what was refused is never read;
- an epoch ends only where the durability of the channel lets something be lost;
- every subscriber sees one order, twice only right after a resume, and no gap that it was not told of;
- on ` + "`sync`" + ` channels every resume succeeds.

A planted bug of each kind is caught by the same checks (` + "`e2e/faults/history`, `e2e/faults/liar_test.go`" + `).

**Outage** is the longest time without an acknowledged publication around a fault: of all publishers together, of those
of nodes that nothing was done to, and of those of the node that it was done to (which waits for its own restart).
Publishers give up a try after 2 s. The machine is small and shared, so read orders of magnitude.

`

// writeReport writes the verdicts of this run.
func writeReport(path string) error {
	report.Lock()
	defer report.Unlock()
	var b strings.Builder
	b.WriteString(reportHead)
	b.WriteString("| scenario | load | faults | acknowledged | refused | unknown | received | resumed / anew | outage: all | others | own node | verdict |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range report.rows {
		verdict := "every promise kept"
		if r.broken > 0 {
			verdict = fmt.Sprintf("**%d promises broken**", r.broken)
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d | %d / %d | %s | %s | %s | %s |\n",
			r.name, r.held.Round(time.Second), r.faults, r.tally.Acked, r.tally.Refused, r.tally.Unknown, r.tally.Received,
			r.tally.Resumed, r.tally.Reset, short(r.all), short(r.others), short(r.own), verdict)
	}
	b.WriteString("\nOne run of `make faults`, " + time.Now().UTC().Format(time.DateOnly) + ".\n")
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// short is a duration for a table, "-" for none.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Second:
		return d.Round(10 * time.Millisecond).String()
	default:
		return d.Round(100 * time.Millisecond).String()
	}
}
