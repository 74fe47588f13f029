import type { How } from "../link/feed.ts";

/** One publication of the ECG channel. */
export interface Batch {
  /** Unix milliseconds of the first sample. */
  readonly t: number;
  /** Index of the first sample since the device started. */
  readonly n: number;
  /** Samples per second. */
  readonly fs: number;
  /** The samples in millivolt. */
  readonly mv: readonly number[];
}

/** How a sample reached the page. */
export const quality = { missing: 0, live: 1, recovered: 2 } as const;

/** Checks that a publication's data is a batch. */
export function isBatch(data: unknown): data is Batch {
  if (typeof data !== "object" || data === null) return false;
  const { t, n, fs, mv } = data as Partial<Record<keyof Batch, unknown>>;
  return (
    typeof t === "number" && typeof n === "number" && typeof fs === "number" && fs > 0 && Array.isArray(mv) && mv.length > 0
  );
}

const capacity = 1 << 15;
const origin = 1 << 20;
const sameRunMs = 2000;

/**
 * The samples of the last 91 s (at 360 Hz) on one continuous axis of positions, one position per sample.
 *
 * Within one run of the device the index places a batch. Over a restart, where the index starts again, its
 * time does. So a hole in the data is a hole of the right width, and a late batch fills its own hole.
 */
export class Timeline {
  readonly #values = new Float32Array(capacity);
  readonly #quality = new Uint8Array(capacity);
  #run: { n: number; t: number; position: number; length: number } | null = null;
  #start = origin;
  #end = origin;
  #fs = 360;
  #changed = Infinity;

  /** Position of the first sample ever placed. */
  get start(): number {
    return this.#start;
  }

  /** Position after the newest sample. */
  get end(): number {
    return this.#end;
  }

  /** Samples per second. */
  get fs(): number {
    return this.#fs;
  }

  /** Whether any sample was placed. */
  get empty(): boolean {
    return this.#run === null;
  }

  /** Places a batch and returns how many of its samples were not known yet. */
  add(batch: Batch, how: How): number {
    this.#fs = batch.fs;
    const first = this.#run === null;
    const position = this.#place(batch);
    if (first || position < this.#start) this.#start = Math.max(position, this.#end - capacity);
    const end = position + batch.mv.length;
    if (end > this.#end) this.#extend(end);
    const mark = how === "recovered" ? quality.recovered : quality.live;
    let added = 0;
    for (let i = Math.max(0, this.#end - capacity - position); i < batch.mv.length; i++) {
      const slot = (position + i) & (capacity - 1);
      if (this.#quality[slot] !== quality.missing) continue;
      this.#values[slot] = batch.mv[i] ?? 0;
      this.#quality[slot] = mark;
      this.#changed = Math.min(this.#changed, position + i);
      added++;
    }
    return added;
  }

  /** The lowest position that was filled since this was last asked, or infinity. */
  takeChanged(): number {
    const changed = this.#changed;
    this.#changed = Infinity;
    return changed;
  }

  /** The sample at a position in millivolt; meaningless where `qualityAt` is missing. */
  valueAt(position: number): number {
    return this.#values[position & (capacity - 1)] ?? 0;
  }

  /** How the sample at a position reached the page. */
  qualityAt(position: number): number {
    if (position < this.#start || position >= this.#end || position < this.#end - capacity) return quality.missing;
    return this.#quality[position & (capacity - 1)] ?? quality.missing;
  }

  /** The position of an instant of the device's clock, or null before the first batch. */
  positionOf(t: number): number | null {
    if (!this.#run) return null;
    return this.#run.position + ((t - this.#run.t) * this.#fs) / 1000;
  }

  #place(batch: Batch): number {
    const run = this.#run;
    if (!run) return this.#anchor(batch, this.#end);
    const byIndex = batch.n - run.n;
    const drift = batch.t - run.t - (byIndex * 1000) / batch.fs;
    if (byIndex === run.length || (byIndex >= 0 && Math.abs(drift) < sameRunMs)) {
      return this.#anchor(batch, run.position + byIndex);
    }
    if (Math.abs(drift) < sameRunMs) return run.position + byIndex;
    const byTime = run.position + Math.round(((batch.t - run.t) * batch.fs) / 1000);
    const older = batch.t < run.t && byTime > this.#end - capacity;
    return older ? byTime : this.#anchor(batch, Math.max(byTime, this.#end));
  }

  #anchor(batch: Batch, position: number): number {
    this.#run = { n: batch.n, t: batch.t, position, length: batch.mv.length };
    return position;
  }

  /** Moves the end forward and forgets what the ring held in the slots it takes over. */
  #extend(end: number): void {
    for (let p = Math.max(this.#end, end - capacity); p < end; p++) this.#quality[p & (capacity - 1)] = quality.missing;
    this.#end = end;
    this.#start = Math.max(this.#start, end - capacity);
  }
}
