package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxLine is the longest line of a file, in bytes.
const MaxLine = 256 << 20

// A part is one line of a file.
type part struct {
	Rule       *Rule       `json:"rule,omitempty"`
	Fault      *Fault      `json:"fault,omitempty"`
	Publish    *Publish    `json:"publish,omitempty"`
	Subscriber *Subscriber `json:"subscriber,omitempty"`
	Reading    *Reading    `json:"reading,omitempty"`
	Full       bool        `json:"full,omitempty"`
}

// Write writes h as JSON lines, for a look at it later.
func (h *History) Write(w io.Writer) error {
	buffered := bufio.NewWriter(w)
	out := json.NewEncoder(buffered)
	var errs []error
	put := func(l part) { errs = append(errs, out.Encode(l)) }
	for i := range h.Rules {
		put(part{Rule: &h.Rules[i]})
	}
	for i := range h.Faults {
		put(part{Fault: &h.Faults[i]})
	}
	for i := range h.Publishes {
		put(part{Publish: &h.Publishes[i]})
	}
	for _, s := range h.Subscribers {
		put(part{Subscriber: s})
	}
	for i := range h.Readings {
		put(part{Reading: &h.Readings[i]})
	}
	if h.Full {
		put(part{Full: true})
	}
	return errors.Join(append(errs, buffered.Flush())...)
}

// Read reads what Write wrote.
func Read(r io.Reader) (*History, error) {
	h := &History{}
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, MaxLine)
	for n := 1; scan.Scan(); n++ {
		var l part
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case l.Rule != nil:
			h.Rules = append(h.Rules, *l.Rule)
		case l.Fault != nil:
			h.Faults = append(h.Faults, *l.Fault)
		case l.Publish != nil:
			h.Publishes = append(h.Publishes, *l.Publish)
		case l.Subscriber != nil:
			h.Subscribers = append(h.Subscribers, l.Subscriber)
		case l.Reading != nil:
			h.Readings = append(h.Readings, *l.Reading)
		case l.Full:
			h.Full = true
		default:
			return nil, fmt.Errorf("line %d holds no part of a history", n)
		}
	}
	return h, scan.Err()
}
