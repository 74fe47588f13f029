/** A time of day with seconds. */
export function clock(unixMs: number): string {
  return new Date(unixMs).toLocaleTimeString("en-GB");
}

/** A time of day with milliseconds. */
export function preciseClock(unixMs: number): string {
  return `${clock(unixMs)}.${String(Math.floor(unixMs) % 1000).padStart(3, "0")}`;
}

/** A duration in seconds or minutes. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return `${minutes} min ${Math.round(seconds - minutes * 60)} s`;
}

const units = ["B", "kB", "MB", "GB", "TB"] as const;

/** A number of bytes with a decimal unit, three digits. */
export function bytes(value: number): string {
  let unit = 0;
  let rest = Math.abs(value);
  while (rest >= 1000 && unit < units.length - 1) {
    rest /= 1000;
    unit++;
  }
  const digits = unit === 0 || rest >= 100 ? 0 : rest >= 10 ? 1 : 2;
  return `${rest.toFixed(digits)} ${units[unit] ?? ""}`;
}

/** A number of bytes for an axis, without digits that say nothing. */
export function roundBytes(value: number): string {
  return bytes(value).replace(/\.0+ /, " ").replace(/(\.\d*[1-9])0+ /, "$1 ");
}

/** The first characters of a client id: enough to tell clients apart. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}
