//go:build linux

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
load from the HTTP API and WebSocket clients; subscribers are the Go client of this repository, the public Go client
(centrifuge-go) and server-sent events, some of which stay with their node and some of which hop. Every acknowledgement,
publication and resume is recorded and held against:

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

const reportTail = `
How each is done: kill -9 and SIGSTOP to the process; partitions by network namespaces of the test's own, on a bridge,
where what one node sends another goes to a hardware address that nobody has; slow links by a TCP relay between the
nodes; a full disk by a small file system and a file that fills it; clock jumps by replacing the code that the kernel
gives that one process to read the wall clock with. In a cluster each fault is done to one node after another, so the
one that leads is among them; a round ends when every publisher has published again.

## Beside the load

- **Damaged files, one node.** Every file of a stopped node's data is cut, emptied, removed or has a bit flipped, after a
  clean stop and after kill -9. Each time the server refuses to start with words, or a read fails, or everything that
  was acknowledged is there.
- **Damaged files, one of three nodes.** Of the indexes and descriptions of streams, of the logs of their raft groups and
  of the meta group, and of the newest messages of a stream nothing is missed: the node gets it back from the others. Where
  older messages are damaged (` + "`streams/*/msgs/*.blk`" + `: a bit flipped, cut, emptied) the node notices that the others have
  more, half a minute after its start, ends with words, and does not start again before its directory is empty; then it
  gets everything anew. Until it notices, that node, and the cluster where it leads, answers without these messages. Damage
  of a node that runs shows at its next start.
- **A second process** on a directory is refused, and the first goes on.
- **Compare-and-set** on the engines: porcupine finds one order of all calls that explains every answer, in memory, on
  disk in processes that are killed, and on three nodes of which one after another is cut off.
- **A full disk in a cluster** takes that node out until there is room and it is started anew; the others go on.
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
	b.WriteString("\nOne run of `make faults`, " + time.Now().UTC().Format(time.DateOnly) + ".\n" + reportTail)
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
