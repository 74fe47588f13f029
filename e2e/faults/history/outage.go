package history

import (
	"slices"
	"time"
)

// Outage is the longest time without an acknowledgement around a fault.
type Outage struct {
	Fault Fault
	// Node is the one whose publishers waited, "" for all of them together.
	Node string
	// Longest began at At.
	Longest, At time.Duration
}

// Outages tells for each fault, in their order, how long publishers waited at
// most from its begin until the next one begins: all of them together first,
// then those of each node. It looks at the channels that promise most.
func Outages(h *History) []Outage {
	acks := map[string][]time.Duration{"": nil}
	var end time.Duration
	durable := mostDurable(h.Rules)
	for _, p := range h.Publishes {
		if p.After {
			continue
		}
		end = max(end, p.Return)
		if p.Outcome == Acked && durable[p.Channel] {
			acks[""] = append(acks[""], p.Return)
			acks[p.Node] = append(acks[p.Node], p.Return)
		}
	}
	var nodes []string
	for node, times := range acks {
		slices.Sort(times)
		nodes = append(nodes, node)
	}
	slices.Sort(nodes)
	faults := slices.Clone(h.Faults)
	slices.SortFunc(faults, func(a, b Fault) int { return int(a.From - b.From) })
	var out []Outage
	for i, f := range faults {
		until := end
		if i+1 < len(faults) {
			until = faults[i+1].From
		}
		for _, node := range nodes {
			o := Outage{Fault: f, Node: node}
			o.Longest, o.At = longest(acks[node], f.From, until)
			out = append(out, o)
		}
	}
	return out
}

// mostDurable returns the channels of the highest durability there is.
func mostDurable(rules []Rule) map[string]bool {
	channels := make(map[string]bool)
	for _, r := range rules {
		if !slices.ContainsFunc(rules, func(other Rule) bool { return other.Durability > r.Durability }) {
			channels[r.Channel] = true
		}
	}
	return channels
}

// longest returns the longest pause between times that is, in part, within a
// window.
func longest(times []time.Duration, from, to time.Duration) (pause, at time.Duration) {
	i, _ := slices.BinarySearch(times, from)
	last := from
	if i > 0 {
		last = times[i-1]
	}
	for _, t := range append(slices.Clone(times[i:]), to) {
		t = min(t, to)
		if t-last > pause {
			pause, at = t-last, last
		}
		if t == to {
			break
		}
		last = t
	}
	return pause, at
}

// Tally counts what is in a history.
type Tally struct {
	Acked, Refused, Unknown int
	// Received is how many publications subscribers were given.
	Received int
	// Resumed is how many times subscribers came back and recovered, Reset how
	// many times they were told that they could not.
	Resumed, Reset int
}

// Count counts.
func Count(h *History) Tally {
	var t Tally
	for _, p := range h.Publishes {
		switch p.Outcome {
		case Acked:
			t.Acked++
		case Refused:
			t.Refused++
		case Unknown:
			t.Unknown++
		}
	}
	for _, s := range h.Subscribers {
		for _, step := range s.Steps {
			switch {
			case step.Kind == Publication:
				t.Received++
			case step.Kind == Subscribed && step.Recovered:
				t.Resumed++
			case step.Kind == Subscribed && step.Recovering:
				t.Reset++
			}
		}
	}
	return t
}
