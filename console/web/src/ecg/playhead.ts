const windowMs = 5000;
const jump = 0.4;
const maxSlew = 0.05;

/**
 * The position being drawn: a little behind the newest sample, moving at the sampling rate whatever the
 * rhythm of arrival. It follows the earliest arrivals of the last 5 to 10 s, so one late batch does not move
 * it; it closes small differences by running up to 5 % faster or slower, and jumps over large ones.
 */
export class Playhead {
  readonly #delay: number;
  #fs = 360;
  #phase: number | null = null;
  #bucket = { from: 0, best: -Infinity, previous: -Infinity };
  #position: number | null = null;
  #at = 0;

  /** `delay` is the jitter buffer in seconds. */
  constructor(delay: number) {
    this.#delay = delay;
  }

  /** Notes that samples up to `end` had arrived at `now` (milliseconds of a monotonic clock). */
  arrived(end: number, fs: number, now: number): void {
    this.#fs = fs;
    const phase = end - (now * fs) / 1000;
    if (now - this.#bucket.from > windowMs) {
      const stale = now - this.#bucket.from > 2 * windowMs;
      this.#bucket = { from: now, best: phase, previous: stale ? -Infinity : this.#bucket.best };
    }
    this.#bucket.best = Math.max(this.#bucket.best, phase);
    this.#phase = Math.max(this.#bucket.best, this.#bucket.previous);
  }

  /** The position to draw at `now`, or null before anything arrived. */
  at(now: number): number | null {
    if (this.#phase === null) return null;
    const target = this.#phase + (now * this.#fs) / 1000 - this.#delay * this.#fs;
    const elapsed = (now - this.#at) / 1000;
    this.#at = now;
    if (this.#position === null) return (this.#position = target);
    const step = elapsed * this.#fs;
    const error = target - (this.#position + step);
    if (Math.abs(error) > jump * this.#fs) return (this.#position = target);
    const slew = Math.max(-maxSlew * step, Math.min(maxSlew * step, error));
    return (this.#position += step + slew);
  }
}
