import { signal } from "@preact/signals";
import type { Feed, Publication } from "../link/feed.ts";
import type { Link } from "../link/link.ts";
import { pretty } from "./pretty.ts";

/** A publication as the tail shows it. */
export interface Row {
  readonly key: number;
  readonly at: number;
  readonly offset: number | null;
  /** Length of the data as JSON in bytes. */
  readonly size: number;
  readonly text: string;
  readonly how: Publication["how"];
}

const rowsKept = 100;
const pendingKept = 100;
const showEvery = 150;
const past = 10;
const rateWindow = 5000;
const arrivalsKept = 5000;

/** The live tail of one channel: its newest publications, newest first, shown at most seven times a second. */
export class Tail {
  readonly feed: Feed;
  readonly rows = signal<readonly Row[]>([]);
  readonly paused = signal(false);
  /** Publications that arrived since the tail was paused. */
  readonly held = signal(0);
  /** Publications since the tail was opened. */
  readonly total = signal(0);
  /** Publications a second over the last five. */
  readonly rate = signal(0);
  readonly #stop: () => void;
  readonly #timer: number;
  #pending: Publication[] = [];
  #arrivals: number[] = [];
  #seen = 0;
  #serial = 0;
  #opened = Date.now();

  constructor(link: Link, channel: string) {
    this.feed = link.feed(channel);
    this.#stop = this.feed.follow({
      publication: (p) => this.#take(p),
      subscribed: (continuity) => {
        if (continuity === "fresh") void this.#fill();
      },
    });
    this.#timer = window.setInterval(() => this.#show(), showEvery);
  }

  /** Stops following the channel. */
  close(): void {
    clearInterval(this.#timer);
    this.#stop();
  }

  /** Holds the view still, or lets it go on from what was held. */
  pause(paused: boolean): void {
    this.paused.value = paused;
    this.held.value = 0;
    this.#show();
  }

  /** Empties the view. */
  clear(): void {
    this.#pending = [];
    this.rows.value = [];
    this.held.value = 0;
  }

  #take(publication: Publication): void {
    this.#seen++;
    this.#arrivals.push(publication.at);
    if (this.#arrivals.length > arrivalsKept) this.#arrivals.shift();
    this.#pending.push(publication);
    if (this.#pending.length > pendingKept) this.#pending.shift();
  }

  #show(): void {
    const now = Date.now();
    while (this.#arrivals[0] !== undefined && this.#arrivals[0] < now - rateWindow) this.#arrivals.shift();
    this.rate.value = this.#arrivals.length / (Math.min(rateWindow, Math.max(1000, now - this.#opened)) / 1000);
    const fresh = this.#seen - this.total.peek();
    this.total.value = this.#seen;
    if (this.paused.peek()) {
      this.held.value += fresh;
      return;
    }
    if (this.#pending.length === 0) return;
    const rows = this.#pending.map((p) => this.#row(p)).reverse();
    this.#pending = [];
    this.rows.value = [...rows, ...this.rows.peek()].slice(0, rowsKept);
  }

  /** Puts the last publications of history under what is shown. */
  async #fill(): Promise<void> {
    try {
      const found = await this.feed.history(past);
      this.#show();
      const known = new Set(this.rows.peek().map((row) => row.offset));
      const older = found.filter((p) => p.offset !== null && !known.has(p.offset)).map((p) => this.#row(p));
      this.rows.value = [...this.rows.peek(), ...older.reverse()].slice(0, rowsKept);
    } catch {
      // A server that refuses history only costs the past.
      return;
    }
  }

  #row(p: Publication): Row {
    const compact = JSON.stringify(p.data) ?? "";
    const size = new TextEncoder().encode(compact).length;
    return { key: this.#serial++, at: p.at, offset: p.offset, size, text: pretty(p.data), how: p.how };
  }
}
