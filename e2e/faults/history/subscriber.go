package history

// walk follows a subscriber and calls back where something is remarkable.
// Whoever is called stops the walk by returning a violation.
type walk struct {
	// again is a publication that is not after the last one. resumed: the last
	// subscription was a resume, and nothing new has come since.
	again func(last Position, s Step, resumed bool) *Violation
	// hole is a publication, or the end, that leaves something out.
	hole func(last Position, missing sighting, s Step) *Violation
	// odd is a step that says the impossible.
	odd func(last Position, s Step, words string) *Violation
	// reset is a resume that was told to have failed although the epoch is the
	// same.
	reset func(last Position, s Step) *Violation
}

func (v *view) walk(s *Subscriber, w walk) *Violation {
	var last Position
	began, resumed := false, false
	for _, step := range s.Steps {
		var bad *Violation
		switch step.Kind {
		case Interrupted:
		case Subscribed:
			switch {
			case step.Recovered && began && step.Epoch != last.Epoch:
				bad = w.odd(last, step, "was told that nothing is missing, in another epoch")
			case step.Recovered && began:
			case began && step.Recovering && step.Epoch == last.Epoch:
				bad = w.reset(last, step)
				last = step.Position
			default:
				last = step.Position
			}
			began, resumed = true, true
		case Publication:
			switch {
			case !began:
				bad = w.odd(last, step, "was given a publication before it was subscribed")
			case step.Epoch != last.Epoch:
				bad = w.odd(last, step, "was given a publication of another epoch without being told")
			case step.Offset <= last.Offset:
				bad = w.again(last, step, resumed)
			default:
				if missing, ok := v.lines[last.Epoch].between(last.Offset, step.Offset); ok {
					bad = w.hole(last, missing, step)
				}
				last, resumed = step.Position, false
			}
		}
		if bad != nil {
			return bad
		}
	}
	return v.walkEnd(s, w, last, began)
}

// walkEnd judges where a subscriber stood when everything was over.
func (v *view) walkEnd(s *Subscriber, w walk, last Position, began bool) *Violation {
	if !s.Settled || v.final == nil {
		return nil
	}
	end := Step{At: v.final.Return, Kind: Interrupted, Reason: "the end"}
	switch {
	case !began:
		return w.odd(last, end, "was never subscribed")
	case last.Epoch != v.final.Epoch:
		return w.odd(last, end, "was never told of the epoch "+v.final.Epoch)
	}
	if missing, ok := v.lines[last.Epoch].between(last.Offset, ^uint64(0)); ok {
		return w.hole(last, missing, end)
	}
	return nil
}

// ignore is a walk that finds nothing remarkable.
func ignore() walk {
	return walk{
		again: func(Position, Step, bool) *Violation { return nil },
		hole:  func(Position, sighting, Step) *Violation { return nil },
		odd:   func(Position, Step, string) *Violation { return nil },
		reset: func(Position, Step) *Violation { return nil },
	}
}

func (v *view) walkAll(of func(*Subscriber) walk) *Violation {
	for _, s := range v.subscribers {
		if bad := v.walk(s, of(s)); bad != nil {
			return bad
		}
	}
	return nil
}

// checkSequences holds that what each subscriber sees is in order, and twice
// only right after a resume. What is at an offset is judged by itself.
func checkSequences(v *view) *Violation {
	return v.walkAll(func(s *Subscriber) walk {
		w := ignore()
		w.again = func(last Position, step Step, resumed bool) *Violation {
			if resumed {
				return nil
			}
			return broken(PromiseSequence, "%s was given %q as %s at %v, after %s", s.Client, step.ID, step.Position, step.At, last)
		}
		return w
	})
}

// checkGaps holds that whatever a subscriber was not given lies before a
// position that it was told to begin anew from.
func checkGaps(v *view) *Violation {
	return v.walkAll(func(s *Subscriber) walk {
		w := ignore()
		w.hole = func(last Position, missing sighting, step Step) *Violation {
			next := step.Position.String()
			if step.Kind == Interrupted {
				next = "nothing more until " + step.Reason
			}
			return broken(PromiseGap, "%s was given %s and then, at %v, %s, and never %q, which is %s to %s",
				s.Client, last, step.At, next, missing.id, missing.Position, missing.who)
		}
		w.odd = func(last Position, step Step, words string) *Violation {
			return broken(PromiseGap, "%s %s: it stood at %s and at %v came to %s", s.Client, words, last, step.At, step.Position)
		}
		return w
	})
}

// checkResumes holds that a resume succeeds where everything that can be missed
// is kept.
func checkResumes(v *view) *Violation {
	if !v.rule.Exact {
		return nil
	}
	return v.walkAll(func(s *Subscriber) walk {
		w := ignore()
		w.reset = func(last Position, step Step) *Violation {
			return broken(PromiseResume, "%s came back at %v from %s and was told to begin anew from %s, in the same epoch",
				s.Client, step.At, last, step.Position)
		}
		return w
	})
}
