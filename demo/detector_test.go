package demo

import (
	"math"
	"math/rand/v2"
	"testing"
)

// detect returns the R peaks that the detector finds, in samples.
func detect(t *testing.T, mv []float64) []int {
	t.Helper()
	d := newDetector(recordRate)
	var peaks []int
	for i, v := range mv {
		r := d.next(v)
		if r < 0 {
			continue
		}
		if r > i || i-r > 2*recordRate {
			t.Fatalf("peak %d reported at sample %d", r, i)
		}
		peaks = append(peaks, r)
	}
	return peaks
}

func millivolts(t testing.TB) []float64 {
	t.Helper()
	r := mustLoad(t)
	mv := make([]float64, len(r))
	for i := range r {
		mv[i] = float64(r.microvolts(int64(i))) / 1000
	}
	return mv
}

// reference finds R peaks by other means than the detector, and with hindsight:
// samples that are the highest within 200 ms and stand out by 0.8 mV from the
// lowest sample within 150 ms on either side. T waves are too broad for that.
func reference(mv []float64) []int {
	const near, side, prominence = 72, 54, 0.8
	lowest := func(from, to int) float64 {
		low := math.Inf(1)
		for _, v := range mv[max(from, 0):min(to, len(mv))] {
			low = min(low, v)
		}
		return low
	}
	var peaks []int
	for i := 1; i < len(mv)-1; i++ {
		highest := true
		for j := max(0, i-near); j < min(len(mv), i+near) && highest; j++ {
			highest = mv[j] < mv[i] || mv[j] == mv[i] && j >= i
		}
		if highest && mv[i]-max(lowest(i-side, i), lowest(i+1, i+side)) > prominence {
			peaks = append(peaks, i)
		}
	}
	return peaks
}

// between returns the peaks of some seconds.
func between(peaks []int, from, to float64) []int {
	var in []int
	for _, p := range peaks {
		if s := float64(p) / recordRate; s >= from && s < to {
			in = append(in, p)
		}
	}
	return in
}

// found counts the peaks that have a counterpart within 150 ms, which is the
// tolerance of ANSI/AAMI EC57.
func found(peaks, among []int) int {
	n := 0
	for _, p := range peaks {
		for _, q := range among {
			if q-p < 54 && p-q < 54 {
				n++
				break
			}
		}
	}
	return n
}

func TestDetectorAgainstReference(t *testing.T) {
	mv := millivolts(t)
	detected, wanted := detect(t, mv), reference(mv)
	for _, c := range []struct {
		from, to                float64
		sensitivity, prediction float64
	}{
		{2, 16, 1, 1},            // normal beats
		{2, 60, 0.99, 0.98},      // and premature ones
		{60, 206, 0.98, 0.98},    // noise around second 87
		{216, 299.5, 0.99, 0.99}, // after the great artefact
	} {
		d, w := between(detected, c.from, c.to), between(wanted, c.from, c.to)
		sensitivity := float64(found(w, d)) / float64(len(w))
		prediction := float64(found(d, w)) / float64(len(d))
		t.Logf("seconds %v to %v: %d beats, %d detected, sensitivity %.3f, positive prediction %.3f",
			c.from, c.to, len(w), len(d), sensitivity, prediction)
		if sensitivity < c.sensitivity || prediction < c.prediction {
			t.Errorf("want at least %v and %v", c.sensitivity, c.prediction)
		}
	}
}

func TestDetectorPlacesPeaksOnPeaks(t *testing.T) {
	mv := millivolts(t)
	last := -1
	for _, p := range between(detect(t, mv), 2, 60) {
		if p <= last {
			t.Fatalf("peak %d after %d", p, last)
		}
		last = p
		for j := p - 15; j <= p+15; j++ {
			if mv[j] > mv[p]+0.35 {
				t.Fatalf("peak at sample %d (%.3f mV), but sample %d has %.3f mV", p, mv[p], j, mv[j])
			}
		}
	}
}

func TestHeartRateOfTheRecord(t *testing.T) {
	h := newHeart()
	rates := map[int]float64{} // by second
	for _, p := range detect(t, millivolts(t)) {
		bpm, rr, ok := h.beat(p)
		if !ok {
			continue
		}
		if bpm < 30 || bpm > 223 || rr < 270 || rr > 2000 {
			t.Fatalf("second %.1f: %v bpm, %d ms", float64(p)/recordRate, bpm, rr)
		}
		rates[p/recordRate] = bpm
	}
	for second, bpm := range rates {
		switch {
		case second < 60 && (bpm < 95 || bpm > 135):
			t.Errorf("second %d: %.1f bpm, want about 110", second, bpm)
		case bpm < 60 || bpm > 140:
			t.Errorf("second %d: %.1f bpm is not this patient's", second, bpm)
		}
	}
	if n := len(rates); n < 270 {
		t.Errorf("a rate in %d of 300 seconds", n)
	}
}

// A steep T wave is not a second beat.
func TestDetectorKnowsTWaves(t *testing.T) {
	mv := make([]float64, 60*recordRate)
	bump := func(at, width int, height float64) {
		for i := range width {
			if at+i < len(mv) {
				mv[at+i] += height * math.Sin(math.Pi*float64(i)/float64(width))
			}
		}
	}
	const period = recordRate * 4 / 5
	for at := 0; at < len(mv); at += period {
		bump(at, 25, 1)
		bump(at+80, 50, 0.9)
	}
	want := 58 * recordRate / period
	if n := len(between(detect(t, mv), 2, 60)); n < want-2 || n > want+2 {
		t.Fatalf("%d beats, want %d", n, want)
	}
}

func TestDetectorRecoversFromASpike(t *testing.T) {
	mv := millivolts(t)[:120*recordRate]
	for i := range 20 {
		mv[30*recordRate+i] += 25
	}
	if n, want := len(between(detect(t, mv), 36, 60)), len(between(reference(mv), 36, 60)); n < want-3 {
		t.Fatalf("%d of %d beats found after a spike of 25 mV", n, want)
	}
}

func TestDetectorBridgesAFlatLine(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	mv := millivolts(t)[:120*recordRate]
	for i := 30 * recordRate; i < 90*recordRate; i++ {
		// What is left is the noise of the converter's last digit.
		mv[i] = float64(rnd.IntN(3)-1) * recordUnit / 1000
	}
	peaks := detect(t, mv)
	if n := len(between(peaks, 31, 89.5)); n != 0 {
		t.Fatalf("%d beats in a flat line: %v", n, between(peaks, 31, 89.5))
	}
	if n, want := len(between(peaks, 93, 119)), len(between(reference(mv), 93, 119)); n < want-3 {
		t.Fatalf("%d of %d beats found after a flat line", n, want)
	}
}

func FuzzDetector(f *testing.F) {
	f.Add([]byte{0, 255, 3, 200, 7}, 100.0)
	f.Add([]byte{1}, math.MaxFloat64)
	f.Fuzz(func(t *testing.T, shape []byte, scale float64) {
		if len(shape) == 0 {
			return
		}
		mv := make([]float64, 10*recordRate)
		for i := range mv {
			mv[i] = scale * float64(int8(shape[i%len(shape)]))
		}
		h := newHeart()
		for _, p := range detect(t, mv) {
			if bpm, _, ok := h.beat(p); ok && (bpm < 30 || bpm > 223) {
				t.Fatalf("%v bpm", bpm)
			}
		}
	})
}
