package history

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Answer is what porcupine says.
type Answer = porcupine.CheckResult

// What porcupine says.
const (
	Legal   = porcupine.Ok
	Illegal = porcupine.Illegal
	// Undecided: there was not enough time.
	Undecided = porcupine.Unknown
)

// never is when a call returns that has no answer.
const never = math.MaxInt64

// logCall is a publication that became the one after prev; a zero offset is a
// reader who was told that the top is prev.
type logCall struct{ prev, offset uint64 }

// Linear asks for one order of all calls on a channel that explains the
// positions that publishers and readers of tops were told, within each epoch:
// a publish makes the next position, a read returns the last one. It holds
// where readers are promised the newest, which is on one node.
func Linear(h *History, channel string, patience time.Duration) Answer {
	v := newView(h, Rule{Channel: channel})
	byID := make(map[string]porcupine.Operation)
	for i, p := range v.tries {
		op, known := byID[p.ID]
		if !known {
			op = porcupine.Operation{ClientId: i, Call: int64(p.Call), Return: never}
		}
		op.Call = min(op.Call, int64(p.Call))
		if p.Outcome == Acked {
			op.Return = min(op.Return, int64(p.Return))
		}
		byID[p.ID] = op
	}
	answer := Legal
	for _, e := range v.epochs {
		var calls []porcupine.Operation
		prev := uint64(0)
		if l := v.lines[e.name]; l != nil {
			for _, offset := range l.order {
				op, known := byID[l.ids[offset].id]
				if !known {
					continue
				}
				op.Input = logCall{prev, offset}
				calls = append(calls, op)
				prev = offset
			}
		}
		for _, r := range v.readings {
			if r.Epoch == e.name && !r.Final {
				calls = append(calls, porcupine.Operation{Input: logCall{prev: r.Offset}, Call: int64(r.Call), Return: int64(r.Return)})
			}
		}
		answer = worse(answer, decide(logModel(), calls, patience))
	}
	return answer
}

func worse(a, b Answer) Answer {
	switch {
	case a == Illegal || b == Illegal:
		return Illegal
	case a == Undecided || b == Undecided:
		return Undecided
	}
	return Legal
}

// decide numbers the clients, so that porcupine can tell calls apart, and asks.
func decide(m porcupine.Model, calls []porcupine.Operation, patience time.Duration) Answer {
	for i := range calls {
		calls[i].ClientId = i
	}
	return porcupine.CheckOperationsTimeout(m, calls, patience)
}

func logModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint64(0) },
		Step: func(state, input, _ any) (bool, any) {
			c, top := input.(logCall), state.(uint64)
			if c.offset == 0 {
				return c.prev == top, top
			}
			return c.prev == top, c.offset
		},
	}
}

// KeyCall is one call on a key of a state channel.
type KeyCall struct {
	Key string
	// ID of what is put, "" for a call that only looks.
	ID string
	// Expect is the offset that the key must have for the put, nil for any.
	Expect       *uint64
	Call, Return time.Duration
	// Outcome of a put: acknowledged as Offset, refused because the key was at
	// Offset, or unknown. A look is acknowledged: the key is at Offset.
	Outcome Outcome
	Offset  uint64
}

// String tells the call.
func (c KeyCall) String() string {
	expect := "any"
	if c.Expect != nil {
		expect = fmt.Sprint(*c.Expect)
	}
	return fmt.Sprintf("%q put %q expect %s: %s %d", c.Key, c.ID, expect, c.Outcome, c.Offset)
}

// Registers asks for one order of the calls on each key of a state channel that
// explains every answer: a put is done exactly where the key has the offset that
// is expected. changes are the publications of the channel, by which it is known
// whether a put without an answer was done.
func Registers(calls []KeyCall, changes []Kept, patience time.Duration) Answer {
	done := make(map[string]uint64, len(changes))
	for _, k := range changes {
		done[k.ID] = k.Offset
	}
	keys := make(map[string][]porcupine.Operation)
	for _, c := range calls {
		op := porcupine.Operation{Call: int64(c.Call), Return: int64(c.Return)}
		if c.ID != "" && c.Outcome == Unknown {
			offset, was := done[c.ID]
			if !was {
				continue
			}
			op.Return = never
			c.Outcome, c.Offset = Acked, offset
		}
		op.Input = c
		keys[c.Key] = append(keys[c.Key], op)
	}
	answer := Legal
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		answer = worse(answer, decide(keyModel(), keys[key], patience))
	}
	return answer
}

func keyModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint64(0) },
		Step: func(state, input, _ any) (bool, any) {
			c, at := input.(KeyCall), state.(uint64)
			switch {
			case c.ID == "":
				return c.Offset == at, at
			case c.Outcome == Refused:
				return c.Expect != nil && *c.Expect != at && c.Offset == at, at
			default:
				return (c.Expect == nil || *c.Expect == at) && c.Offset > at, c.Offset
			}
		},
	}
}
