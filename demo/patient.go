package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

const (
	// batchSamples and batchPeriod are how a bedside device sends: often enough
	// for a smooth line, seldom enough to be cheap.
	batchSamples = 36
	batchPeriod  = 100 * time.Millisecond
	// maxBatches is how many batches are made up at once after a stall.
	maxBatches = int64(SpoolTime / batchPeriod)
)

// runID tells one run of a device from the next, so that their ids differ.
func runID() string { return strconv.FormatUint(rand.Uint64(), 36) }

// patient is a bedside device: it plays the recording and derives the heart
// rate. One goroutine takes the samples, another publishes.
type patient struct {
	ecg   record
	pace  pace
	wall  wall
	id    string
	spool *spool

	detector *detector
	heart    *heart
	base     int64 // the sample that is the detector's first
}

func newPatient(ecg record, start time.Time, id string, log *slog.Logger) *patient {
	return &patient{
		ecg: ecg, id: id,
		pace:     pace{start: start, period: batchPeriod},
		wall:     wall{start: start},
		spool:    newSpool(spoolLimit, log),
		detector: newDetector(recordRate),
		heart:    newHeart(),
	}
}

// play publishes until ctx ends.
func (p *patient) play(ctx context.Context, c caller) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { p.spool.run(ctx, c) })
	timer := time.NewTimer(p.pace.wait(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		p.wall.adjust(now, now.Sub(p.pace.start))
		skipped := p.pace.next
		from, to := p.pace.due(now, maxBatches)
		if from > skipped {
			p.restart(from * batchSamples)
		}
		for k := from; k < to; k++ {
			p.batch(k)
		}
		timer.Reset(p.pace.wait(time.Now()))
	}
}

// restart begins the detection anew after samples that were left out.
func (p *patient) restart(at int64) {
	p.detector, p.heart, p.base = newDetector(recordRate), newHeart(), at
}

// batch takes the k-th batch of samples.
func (p *patient) batch(k int64) {
	first := k * batchSamples
	b := make([]byte, 0, 320)
	b = append(b, `{"t":`...)
	b = strconv.AppendInt(b, p.unixMilli(first), 10)
	b = append(b, `,"n":`...)
	b = strconv.AppendInt(b, first, 10)
	b = append(b, `,"fs":`...)
	b = strconv.AppendInt(b, recordRate, 10)
	b = append(b, `,"mv":[`...)
	var beats []publication
	for n := first; n < first+batchSamples; n++ {
		mv := float64(p.ecg.microvolts(n)) / 1000
		if n > first {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, mv, 'f', -1, 64)
		if beat, ok := p.sample(mv); ok {
			beats = append(beats, beat)
		}
	}
	b = append(b, "]}"...)
	p.spool.put(publication{channelECG, fmt.Sprintf("%s-ecg-%d", p.id, first), b})
	for _, beat := range beats {
		p.spool.put(beat)
	}
}

// sample feeds the detector and returns what to publish if a beat is complete.
func (p *patient) sample(mv float64) (publication, bool) {
	at := p.detector.next(mv)
	if at < 0 {
		return publication{}, false
	}
	bpm, rr, ok := p.heart.beat(at)
	if !ok {
		return publication{}, false
	}
	n := p.base + int64(at)
	// Numbers always have a JSON form.
	data, _ := json.Marshal(rate{p.unixMilli(n), math.Round(bpm*10) / 10, rr})
	return publication{channelRate, fmt.Sprintf("%s-hr-%d", p.id, n), data}, true
}

// unixMilli returns when sample n was taken.
func (p *patient) unixMilli(n int64) int64 {
	whole, part := n/recordRate, n%recordRate
	return p.wall.unixMilli(time.Duration(whole)*time.Second + time.Duration(part)*time.Second/recordRate)
}

// rate is a publication in channelRate.
type rate struct {
	T   int64   `json:"t"`   // Unix milliseconds of the R peak
	BPM float64 `json:"bpm"` // median over the last intervals
	RR  int     `json:"rr"`  // milliseconds since the R peak before
}
