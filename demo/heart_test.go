package demo

import "testing"

func TestHeart(t *testing.T) {
	h := newHeart()
	for i, c := range []struct {
		at  int
		bpm float64
		rr  int
		ok  bool
	}{
		{100, 0, 0, false},     // the first has no interval
		{460, 60, 1000, true},  // 360 samples
		{640, 80, 500, true},   // 180: the median is between both
		{820, 120, 500, true},  // 180, 180, 360
		{850, 0, 0, false},     // 83 ms is no heart beat
		{1030, 120, 500, true}, // but the next interval counts from there
		{2030, 0, 0, false},    // after a pause everything starts anew
		{2390, 60, 1000, true},
	} {
		bpm, rr, ok := h.beat(c.at)
		if bpm != c.bpm || rr != c.rr || ok != c.ok {
			t.Fatalf("beat %d: %v, %d, %v, want %v, %d, %v", i, bpm, rr, ok, c.bpm, c.rr, c.ok)
		}
	}
	// Old intervals are forgotten.
	at := 2390
	for range rateIntervals {
		at += 180
		h.beat(at)
	}
	if bpm, _, _ := h.beat(at + 180); bpm != 120 {
		t.Fatalf("%v bpm, want 120", bpm)
	}
	if len(h.rr) > rateIntervals {
		t.Fatalf("%d intervals kept", len(h.rr))
	}
}
