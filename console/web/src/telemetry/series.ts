/** One publication of the telemetry channel. */
export interface Reading {
  /** Unix milliseconds. */
  readonly t: number;
  /** Busy part of all processors, 0 to 1. */
  readonly cpu: number;
  readonly mem: { readonly used: number; readonly total: number };
  /** Runnable tasks, averaged over 1, 5 and 15 minutes. */
  readonly load: readonly number[];
  /** Bytes per second. */
  readonly net: { readonly rx: number; readonly tx: number };
}

const windowMs = 300_000;

const shortestMs = 60_000;
const gapMs = 2500;

/** The window of time to show, in seconds: what there is, at least one minute and at most five. */
export function shownWindow(first: number | undefined, endMs: number): [number, number] {
  const length = Math.min(windowMs, Math.max(shortestMs, endMs - (first ?? endMs)));
  return [(endMs - length) / 1000, endMs / 1000];
}

/** Checks that a publication's data is a reading. */
export function isReading(data: unknown): data is Reading {
  if (typeof data !== "object" || data === null) return false;
  const { t, cpu, mem, load, net } = data as Partial<Reading>;
  return (
    typeof t === "number" &&
    typeof cpu === "number" &&
    typeof mem?.used === "number" &&
    typeof mem.total === "number" &&
    Array.isArray(load) &&
    typeof net?.rx === "number" &&
    typeof net.tx === "number"
  );
}

/** Merges readings in any order, each instant once, and keeps those that the charts show. */
export function merge(known: readonly Reading[], fresh: readonly Reading[]): Reading[] {
  const byTime = new Map([...known, ...fresh].map((reading) => [reading.t, reading]));
  const sorted = [...byTime.values()].sort((a, b) => a.t - b.t);
  const oldest = (sorted.at(-1)?.t ?? 0) - windowMs - gapMs;
  return sorted.filter((reading) => reading.t >= oldest);
}

/** One column of values; null is a hole. */
export type Column = (number | null)[];

/** Times in seconds and the wanted columns, with a row of nulls wherever readings are missing. */
export function columns(readings: readonly Reading[], pick: readonly ((r: Reading) => number)[]): [number[], ...Column[]] {
  const times: number[] = [];
  const values: Column[] = pick.map(() => []);
  let before: number | null = null;
  for (const reading of readings) {
    if (before !== null && reading.t - before > gapMs) {
      times.push((before + 1) / 1000);
      values.forEach((column) => column.push(null));
    }
    times.push(reading.t / 1000);
    pick.forEach((of, i) => values[i]?.push(of(reading)));
    before = reading.t;
  }
  return [times, ...values];
}
