/** A place in a channel's history, as the server gives it. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/**
 * What became of one channel after an outage.
 *
 * - `waiting`: the link is not back, or the channel is not subscribed again yet.
 * - `recovered`: the server delivered everything that was published meanwhile.
 * - `lost`: the server said that it cannot deliver it.
 * - `fresh`: the server keeps no history of this channel, so nothing could be asked for.
 */
export type Outcome = "waiting" | "recovered" | "lost" | "fresh";

/** One channel's part of an outage. */
export interface Fate {
  readonly channel: string;
  readonly outcome: Outcome;
  /** Publications that the server delivered on recovery. */
  readonly recovered: number;
  /** Publications that were read from history after a recovery that failed. */
  readonly refilled: number;
  /** The last position seen before the outage, if the channel has positions. */
  readonly before: Position | null;
  /** The position the server answered with after the outage. */
  readonly after: Position | null;
}

/** A stretch of time without the server, or without one channel. Times are Unix milliseconds. */
export interface Outage {
  readonly id: number;
  readonly from: number;
  readonly to: number | null;
  readonly reason: string;
  readonly fates: readonly Fate[];
}

/** What a subscription was answered. */
export interface Answer {
  readonly wasRecovering: boolean;
  readonly recovered: boolean;
  readonly position: Position | null;
}

const kept = 20;

/** Keeps the last 20 outages, newest first, and what each channel missed in them. */
export class Ledger {
  #outages: readonly Outage[] = [];
  #next = 1;
  readonly #changed: (outages: readonly Outage[]) => void;

  constructor(changed: (outages: readonly Outage[]) => void) {
    this.#changed = changed;
  }

  /**
   * The link broke while these channels were subscribed. A channel that still waits since an earlier outage
   * goes on waiting there: it has been away since then.
   */
  linkLost(at: number, reason: string, channels: ReadonlyMap<string, Position | null>): void {
    const open = this.#outages[0];
    if (open && open.to === null) return;
    this.#begin(at, null, reason, new Map([...channels].filter(([channel]) => !this.#awaits(channel))));
  }

  /** The link is back; channels are answered one by one after it. */
  linkBack(at: number): void {
    this.#edit((outage) => (outage.to === null ? { ...outage, to: at } : outage));
  }

  /** A channel was dropped and is being subscribed again while the link stayed up. */
  channelLost(at: number, reason: string, channel: string, before: Position | null): void {
    if (this.#awaits(channel)) return;
    this.#begin(at, at, reason, new Map([[channel, before]]));
  }

  /** A channel was answered. An answer nobody waited for is a first subscription and is not an outage. */
  answered(channel: string, answer: Answer): void {
    const outcome = !answer.wasRecovering ? "fresh" : answer.recovered ? "recovered" : "lost";
    this.#editFate(channel, "waiting", (fate) => ({ ...fate, outcome, after: answer.position }));
  }

  /** The server delivered `count` missed publications. */
  recovered(channel: string, count: number): void {
    this.#editFate(channel, "recovered", (fate) => ({ ...fate, recovered: count }));
  }

  /** The page read `count` publications from history because recovery failed. */
  refilled(channel: string, count: number): void {
    this.#editFate(channel, "lost", (fate) => ({ ...fate, refilled: count }));
  }

  /** A channel is no longer of interest: whoever wanted it left before it was answered. */
  forgotten(channel: string): void {
    this.#edit((outage) => ({
      ...outage,
      fates: outage.fates.filter((fate) => fate.channel !== channel || fate.outcome !== "waiting"),
    }));
  }

  #begin(from: number, to: number | null, reason: string, channels: ReadonlyMap<string, Position | null>): void {
    const fates = [...channels].map(
      ([channel, before]): Fate => ({ channel, outcome: "waiting", recovered: 0, refilled: 0, before, after: null }),
    );
    this.#outages = [{ id: this.#next++, from, to, reason, fates }, ...this.#outages].slice(0, kept);
    this.#changed(this.#outages);
  }

  #awaits(channel: string): boolean {
    return this.#outages.some((o) => o.fates.some((f) => f.channel === channel && f.outcome === "waiting"));
  }

  #edit(change: (outage: Outage) => Outage): void {
    this.#outages = this.#outages.map(change);
    this.#changed(this.#outages);
  }

  /** Changes the newest fate of the channel that has the outcome. */
  #editFate(channel: string, outcome: Outcome, change: (fate: Fate) => Fate): void {
    const outage = this.#outages.find((o) => o.fates.some((f) => f.channel === channel && f.outcome === outcome));
    if (!outage) return;
    this.#edit((o) => {
      if (o !== outage) return o;
      return { ...o, fates: o.fates.map((f) => (f.channel === channel && f.outcome === outcome ? change(f) : f)) };
    });
  }
}

/** The sentence about one channel in the outage log. */
export function verdict(fate: Fate): string {
  switch (fate.outcome) {
    case "waiting":
      return "waiting for the server";
    case "recovered":
      return fate.recovered === 0 ? "missed nothing" : `missed ${count(fate.recovered)}: recovered ${fate.recovered}`;
    case "lost":
      return "could not recover: told by server";
    case "fresh":
      return "not recoverable: no history kept";
  }
}

/** Why a channel could not be recovered and what was done about it, or "". */
export function explanation(fate: Fate): string {
  if (fate.outcome !== "lost") return "";
  const parts: string[] = [];
  if (fate.before && fate.after) {
    if (fate.before.epoch !== fate.after.epoch) {
      parts.push(`new epoch ${fate.after.epoch}`);
    } else {
      parts.push(`history no longer reaches back to #${fate.before.offset}`);
    }
  }
  if (fate.refilled > 0) parts.push(`${fate.refilled} from history`);
  return parts.join("; ");
}

/** Where the channel stood before and after, or "". */
export function places(fate: Fate): string {
  const place = (position: Position | null) => (position ? `epoch ${position.epoch} #${position.offset}` : "unknown");
  return fate.outcome === "waiting" ? `before: ${place(fate.before)}` : `before: ${place(fate.before)}; after: ${place(fate.after)}`;
}

function count(n: number): string {
  return n === 1 ? "1 publication" : `${n} publications`;
}
