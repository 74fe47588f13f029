package demo

import "math"

// biquad is a second-order section in transposed direct form II.
type biquad struct {
	b0, b1, b2, a1, a2 float64
	z1, z2             float64
}

// butterworthQ makes a single section maximally flat.
const butterworthQ = math.Sqrt2 / 2

// lowPass and highPass are the Butterworth sections of the bilinear transform,
// with the corner at hz of fs samples a second.
func lowPass(hz, fs float64) biquad {
	cos, alpha := corner(hz, fs)
	return section((1-cos)/2, 1-cos, (1-cos)/2, cos, alpha)
}

func highPass(hz, fs float64) biquad {
	cos, alpha := corner(hz, fs)
	return section((1+cos)/2, -(1 + cos), (1+cos)/2, cos, alpha)
}

func corner(hz, fs float64) (cos, alpha float64) {
	w := 2 * math.Pi * hz / fs
	return math.Cos(w), math.Sin(w) / (2 * butterworthQ)
}

func section(b0, b1, b2, cos, alpha float64) biquad {
	a0 := 1 + alpha
	return biquad{b0: b0 / a0, b1: b1 / a0, b2: b2 / a0, a1: -2 * cos / a0, a2: (1 - alpha) / a0}
}

func (f *biquad) next(x float64) float64 {
	y := f.b0*x + f.z1
	f.z1 = f.b1*x - f.a1*y + f.z2
	f.z2 = f.b2*x - f.a2*y
	return y
}

// delayLine holds the last len(buf) values.
type delayLine struct {
	buf []float64
	pos int // where the oldest value is
}

func newDelayLine(n int) delayLine { return delayLine{buf: make([]float64, n)} }

// push adds a value and returns the oldest, which it replaces.
func (d *delayLine) push(x float64) float64 {
	old := d.buf[d.pos]
	d.buf[d.pos] = x
	d.pos = (d.pos + 1) % len(d.buf)
	return old
}

// ago returns the value pushed k calls before the last one.
func (d *delayLine) ago(k int) float64 {
	return d.buf[((d.pos-1-k)%len(d.buf)+len(d.buf))%len(d.buf)]
}
