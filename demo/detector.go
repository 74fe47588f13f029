package demo

import "math"

// detector finds R peaks in a stream of ECG samples, as Pan and Tompkins do it
// ("A Real-Time QRS Detection Algorithm", IEEE Trans. Biomed. Eng. 32(3), 1985,
// doi:10.1109/TBME.1985.325532): band-pass, derivative, square, moving-window
// integration, then two adaptive thresholds, a refractory period, the rejection
// of T waves by their slope, and a search back when a beat is overdue.
//
// It looks at each sample once, keeps two seconds of signal, and reports a peak
// within half a second, one found by searching back within two. Beyond the paper,
// the estimate of a beat's height decays in a pause, so that one huge artefact
// cannot make it deaf.
type detector struct {
	fs  float64
	n   int // samples so far
	hp  biquad
	lp  biquad
	d   delayLine // band-passed, for the derivative
	mwi delayLine // squared, for the integration
	sum float64   // of mwi
	raw delayLine // the last two seconds, to place the peak

	peak   peak // the largest value since the signal last fell to half of one
	armed  bool // peak has not been judged
	slope  float64
	signal float64 // running estimate of the height of a beat
	noise  float64 // and of what is not a beat
	last   peak    // the last beat
	missed peak    // the largest rejected peak since then
	rr     rrMean
}

// peak is a maximum of the integrated signal.
type peak struct {
	at     int // sample
	height float64
	slope  float64 // steepest slope of the band-passed signal before it
}

// Times are in seconds, and the paper's.
const (
	integration = 0.150
	refractory  = 0.200
	tWave       = 0.360
	learning    = 2.0
	// filterDelay is about how long the filters take to show a slope.
	filterDelay = 0.060
	// faint is the height below which nothing is a beat: a slope of 4 microvolts
	// a sample, less than the recording can resolve.
	faint = 2e-5
	// overdue is how many mean RR intervals may pass before a search back.
	overdue = 1.66
	// pause is an interval too long to be one between two beats.
	pause = 2.0
)

func newDetector(fs float64) *detector {
	return &detector{
		fs: fs, hp: highPass(5, fs), lp: lowPass(15, fs),
		d:   newDelayLine(5),
		mwi: newDelayLine(int(integration * fs)),
		raw: newDelayLine(int(2 * fs)),
	}
}

// samples converts seconds.
func (d *detector) samples(seconds float64) int { return int(seconds * d.fs) }

// next takes one sample and returns the index of an R peak found by it, which
// lies up to two seconds back, or -1.
func (d *detector) next(mv float64) int {
	at := d.n
	d.n++
	d.raw.push(mv)
	d.d.push(d.lp.next(d.hp.next(mv)))
	slope := (2*d.d.ago(0) + d.d.ago(1) - d.d.ago(3) - 2*d.d.ago(4)) / 8
	d.slope = max(d.slope, math.Abs(slope))
	squared := slope * slope
	d.sum += squared - d.mwi.push(squared)
	level := d.sum / float64(len(d.mwi.buf))
	if at < d.samples(learning) {
		d.learn(level)
		return -1
	}
	if level > d.peak.height {
		d.peak, d.armed = peak{at, level, d.slope}, true
		return -1
	}
	if d.armed && (level < d.peak.height/2 || at-d.peak.at > d.samples(refractory)) {
		p := d.peak
		d.armed, d.slope = false, 0
		if d.judge(p) {
			return d.place(p)
		}
	}
	if !d.armed && level < d.peak.height {
		// The next peak starts where this one has ended.
		d.peak.height = level
	}
	return d.searchBack(at)
}

// learn sets the first thresholds from the first two seconds.
func (d *detector) learn(level float64) {
	d.signal = max(d.signal, level/3)
	d.noise += level / 2 / (learning * d.fs)
	d.slope = 0
}

func (d *detector) threshold() float64 { return d.noise + 0.25*(d.signal-d.noise) }

// judge says whether a peak is a beat and adapts the thresholds.
func (d *detector) judge(p peak) bool {
	since := p.at - d.last.at
	isBeat := p.height > max(d.threshold(), faint) &&
		(d.last.at == 0 || since > d.samples(refractory)) &&
		(d.last.at == 0 || since > d.samples(tWave) || p.slope > d.last.slope/2)
	if !isBeat {
		d.noise += (p.height - d.noise) / 8
		if since > d.samples(refractory) && p.height > d.missed.height {
			d.missed = p
		}
		return false
	}
	d.signal += (p.height - d.signal) / 8
	d.accept(p)
	return true
}

func (d *detector) accept(p peak) {
	// A pause says nothing about the rhythm.
	if rr := p.at - d.last.at; d.last.at != 0 && rr < d.samples(pause) {
		d.rr.add(rr)
	}
	d.last, d.missed = p, peak{}
}

// searchBack takes the largest rejected peak for a beat when one is overdue.
func (d *detector) searchBack(at int) int {
	mean := d.rr.mean()
	if mean == 0 || float64(at-d.last.at) < overdue*mean {
		return -1
	}
	p := d.missed
	if at-p.at > len(d.raw.buf)-d.samples(tWave) {
		// Out of reach; a later one will do.
		d.missed = peak{}
		p = peak{}
	}
	if p.height < max(d.threshold()/2, faint) {
		if at-d.last.at > d.samples(pause) {
			d.signal -= (d.signal - d.noise) / d.fs
		}
		return -1
	}
	d.signal += (p.height - d.signal) / 4
	d.accept(p)
	return d.place(p)
}

// place finds the R peak that made p: the highest sample of the raw signal
// within the integration window before p.
func (d *detector) place(p peak) int {
	newest := d.n - 1
	r := p.at
	for i := p.at - d.samples(integration+filterDelay); i < p.at; i++ {
		if d.raw.ago(newest-i) > d.raw.ago(newest-r) {
			r = i
		}
	}
	return r
}

// rrMean is the mean of the last eight RR intervals, in samples.
type rrMean struct {
	rr [8]int
	n  int
}

func (m *rrMean) add(rr int) {
	m.rr[m.n%len(m.rr)] = rr
	m.n++
}

func (m *rrMean) mean() float64 {
	n := min(m.n, len(m.rr))
	if n == 0 {
		return 0
	}
	sum := 0
	for _, rr := range m.rr[:n] {
		sum += rr
	}
	return float64(sum) / float64(n)
}
