package history_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"myelin/channel"
	"myelin/e2e/faults/history"
)

const seeds = 40

// TestGood holds that a server that keeps its promises is not accused.
func TestGood(t *testing.T) {
	t.Parallel()
	var sum history.Tally
	for seed := range uint64(seeds) {
		h := good(seed)
		for _, v := range history.Check(h) {
			t.Errorf("seed %d: %s", seed, v)
		}
		if a := history.Linear(h, syncChannel, time.Minute); a != history.Legal {
			t.Errorf("seed %d: porcupine says %s", seed, a)
		}
		n := history.Count(h)
		sum.Acked, sum.Refused, sum.Unknown = sum.Acked+n.Acked, sum.Refused+n.Refused, sum.Unknown+n.Unknown
		sum.Received, sum.Resumed, sum.Reset = sum.Received+n.Received, sum.Resumed+n.Resumed, sum.Reset+n.Reset
	}
	if sum.Acked == 0 || sum.Refused == 0 || sum.Unknown == 0 || sum.Received == 0 || sum.Resumed == 0 || sum.Reset == 0 {
		t.Errorf("these histories are too poor to show anything: %+v", sum)
	}
}

// A plant puts a bug into a good history. It says whether it found a place.
type plant struct {
	name string
	// breaks is what is broken by it.
	breaks history.Promise
	bug    func(h *history.History, r *rand.Rand) bool
}

// plants are bugs of each kind.
func plants() []plant {
	return []plant{
		{"an acknowledged publication is not there at the end", history.PromiseKept, loseAcked},
		{"a publication without a position is not there at the end", history.PromiseKept, loseUnplaced},
		{"an acknowledgement of what was never done", history.PromiseKept, ackNothing},
		{"the end of the log is gone", history.PromiseKept, loseTail},
		{"the log is out of order", history.PromiseOrder, bendFinal},
		{"two messages at one offset", history.PromiseOne, swapIDs},
		{"one message at two offsets", history.PromiseOne, storeTwice},
		{"offsets used again in one epoch", history.PromiseOne, reuseEpoch},
		{"an acknowledgement with a wrong position", history.PromiseOne, ackElsewhere},
		{"a refused publication is read", history.PromiseRefused, refuseDone},
		{"a publication from nowhere", history.PromiseRefused, ghost},
		{"a later call gets the smaller offset", history.PromiseOrder, bendTime},
		{"an epoch ends without a reason", history.PromiseEpoch, noReason},
		{"an epoch ends before its reason", history.PromiseEpoch, lateReason},
		{"an epoch comes back", history.PromiseEpoch, epochBack},
		{"two publications swapped", history.PromiseSequence, swapSteps},
		{"a publication given twice", history.PromiseSequence, giveTwice},
		{"a publication left out", history.PromiseGap, leaveOut},
		{"the last publication left out", history.PromiseGap, leaveOutLast},
		{"a publication left out by a recovery", history.PromiseGap, leaveOutRecovered},
		{"a recovery across epochs", history.PromiseGap, recoverAcross},
		{"a new epoch without a word", history.PromiseGap, hideReset},
		{"a publication before the subscription", history.PromiseGap, hideStart},
		{"a subscriber stays in an epoch that is over", history.PromiseGap, stayBehind},
		{"a resume fails for no reason", history.PromiseResume, failResume},
		{"nobody reads at the end", history.PromiseHistory, noFinal},
		{"a subscriber is not waited for", history.PromiseHistory, unsettled},
		{"a log that is full", history.PromiseHistory, full},
		{"a publisher's log that is full", history.PromiseHistory, fullPublisher},
		{"nobody publishes", history.PromiseHistory, nobody},
	}
}

// TestPlanted holds that a bug of each kind is caught, in every history that
// has a place for it.
func TestPlanted(t *testing.T) {
	t.Parallel()
	for _, p := range plants() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			planted := 0
			var words string
			for seed := range uint64(seeds) {
				h := good(seed)
				if !p.bug(h, rand.New(rand.NewPCG(seed, 99))) {
					continue
				}
				planted++
				found := history.Check(h)
				i := slices.IndexFunc(found, func(v history.Violation) bool { return v.Promise == p.breaks })
				if i < 0 {
					t.Fatalf("seed %d: not caught; found %v", seed, found)
				}
				words = found[i].String()
			}
			if planted < seeds/4 {
				t.Fatalf("only %d of %d histories have a place for it", planted, seeds)
			}
			t.Logf("caught %d times: %s", planted, words)
		})
	}
}

// TestFile holds that a history is the same after it was written and read.
func TestFile(t *testing.T) {
	t.Parallel()
	h := good(1)
	h.Full = true
	var b bytes.Buffer
	if err := h.Write(&b); err != nil {
		t.Fatal(err)
	}
	back, err := history.Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(h, back) {
		t.Error("another history comes back")
	}
	for _, bad := range []string{"{", "{}", "[]", "7"} {
		if _, err := history.Read(bytes.NewReader([]byte(bad))); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

// TestRecorder holds that what is noted is in the history.
func TestRecorder(t *testing.T) {
	t.Parallel()
	r := history.NewRecorder(history.Rule{Channel: "c"})
	p := r.Publisher()
	p.Note(history.Publish{ID: "a", Outcome: history.Acked})
	s := r.Subscriber("client", "door", "c")
	place := func(offset uint64) history.Position { return history.Position{Epoch: "e", Offset: offset} }
	for _, step := range []struct {
		history.Step
		stands uint64
	}{
		{history.Step{Kind: history.Subscribed, Position: place(3)}, 3},
		{history.Step{Kind: history.Publication, Position: place(4), ID: "a"}, 4},
		{history.Step{Kind: history.Interrupted}, 4},
		{history.Step{Kind: history.Subscribed, Position: place(9), Recovering: true, Recovered: true}, 4},
		{history.Step{Kind: history.Subscribed, Position: place(12), Recovering: true}, 12},
	} {
		s.Note(step.Step)
		if s.Stands() != place(step.stands) {
			t.Errorf("after %v it stands at %s", step.Step, s.Stands())
		}
	}
	s.Settle()
	r.Fault(history.Fault{Name: "f"})
	r.Read(history.Reading{Channel: "c", Final: true})
	h := r.History()
	if len(h.Publishes) != 1 || len(h.Faults) != 1 || len(h.Readings) != 1 || len(h.Rules) != 1 || len(h.Subscribers) != 1 {
		t.Fatalf("the history holds %+v", h)
	}
	if got := h.Subscribers[0]; !got.Settled || len(got.Steps) != 5 || got.Steps[4].At < got.Steps[0].At {
		t.Errorf("the subscriber is %+v", got)
	}
}

// TestOutages measures pauses by hand.
func TestOutages(t *testing.T) {
	t.Parallel()
	h := &history.History{
		Rules:  []history.Rule{{Channel: "", Durability: channel.DurabilitySync}, {Channel: "memory"}},
		Faults: []history.Fault{{Name: "second", From: 10 * time.Second}, {Name: "first", From: 3 * time.Second}},
	}
	for _, at := range []int{1, 2, 6, 7, 9, 11, 12} {
		h.Publishes = append(h.Publishes, history.Publish{Node: "a", Outcome: history.Acked, Return: time.Duration(at) * time.Second})
	}
	h.Publishes = append(h.Publishes,
		history.Publish{Node: "a", Channel: "memory", Outcome: history.Acked, Return: 5 * time.Second},
		history.Publish{Node: "a", Outcome: history.Acked, Return: 30 * time.Second, After: true},
		history.Publish{Node: "b", Outcome: history.Acked, Return: 4 * time.Second},
		history.Publish{Node: "b", Outcome: history.Unknown, Return: 14 * time.Second})
	type row struct {
		fault, node string
		pause, at   time.Duration
	}
	var got []row
	for _, o := range history.Outages(h) {
		got = append(got, row{o.Fault.Name, o.Node, o.Longest / time.Second, o.At / time.Second})
	}
	want := []row{
		{"first", "", 2, 2},
		{"first", "a", 4, 2},
		{"first", "b", 6, 4},
		{"second", "", 2, 9},
		{"second", "a", 2, 9},
		{"second", "b", 10, 4},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("outages are %v, want %v", got, want)
	}
}
