import { signal } from "@preact/signals";
import type { Follower, Publication } from "../link/feed.ts";
import type { Link } from "../link/link.ts";
import { Playhead } from "./playhead.ts";
import { isBatch, Timeline } from "./timeline.ts";

/** The channels of the bedside device. */
export const ecgChannel = "ward:bed1.ecg";
export const rateChannel = "ward:bed1.hr";

/** One detected beat. */
export interface Beat {
  /** Unix milliseconds of the R peak. */
  readonly t: number;
  readonly bpm: number;
  /** Milliseconds since the R peak before. */
  readonly rr: number;
}

const jitterBuffer = 0.2;
const ecgOnLoad = 120;
const beatsOnLoad = 600;
const beatsKept = 1000;

/** What the page knows of the patient: the trace, the beats, and how many samples came in. */
export class Heart {
  readonly timeline = new Timeline();
  readonly playhead = new Playhead(jitterBuffer);
  readonly beat = signal<Beat | null>(null);
  readonly samples = signal(0);
  readonly recovered = signal(0);
  /** When the last live batch arrived, in Unix milliseconds; 0 before the first. */
  readonly arrived = signal(0);
  /** The beats of the last minutes by time. A new array for every change. */
  readonly beats = signal<readonly Beat[]>([]);
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Follows both channels until the returned function is called. */
  follow(): () => void {
    const stops = [
      this.#link.feed(ecgChannel).follow(this.#ecg()),
      this.#link.feed(rateChannel).follow(this.#rate()),
    ];
    return () => stops.forEach((stop) => stop());
  }

  #ecg(): Follower {
    return {
      publication: (p) => this.#batch(p),
      subscribed: (continuity) => {
        if (continuity !== "recovered") void this.#fill(ecgChannel, ecgOnLoad, continuity === "lost", (p) => this.#batch(p));
      },
    };
  }

  #rate(): Follower {
    return {
      publication: (p) => this.#beats([p]),
      subscribed: (continuity) => {
        if (continuity !== "recovered") void this.#fillBeats(continuity === "lost");
      },
    };
  }

  #batch(publication: Publication): void {
    if (!isBatch(publication.data)) return;
    const added = this.timeline.add(publication.data, publication.how);
    this.samples.value += added;
    if (publication.how === "recovered") this.recovered.value += added;
    if (publication.how !== "live") return;
    this.arrived.value = publication.at;
    this.playhead.arrived(this.timeline.end, this.timeline.fs, performance.now());
  }

  #beats(publications: readonly Publication[]): void {
    const fresh = publications.map((p) => p.data).filter(isBeat);
    if (fresh.length === 0) return;
    const known = new Map([...this.beats.peek(), ...fresh].map((beat) => [beat.t, beat]));
    const sorted = [...known.values()].sort((a, b) => a.t - b.t).slice(-beatsKept);
    this.beats.value = sorted;
    this.beat.value = sorted.at(-1) ?? null;
  }

  async #fillBeats(lost: boolean): Promise<void> {
    const found: Publication[] = [];
    await this.#fill(rateChannel, beatsOnLoad, lost, (p) => found.push(p));
    this.#beats(found);
  }

  /** Reads history; a server that refuses it only costs the past. */
  async #fill(channel: string, limit: number, lost: boolean, each: (p: Publication) => void): Promise<void> {
    try {
      const past = await this.#link.feed(channel).history(limit);
      past.forEach(each);
      if (lost) this.#link.refilled(channel, past.length);
    } catch {
      return;
    }
  }
}

function isBeat(data: unknown): data is Beat {
  if (typeof data !== "object" || data === null) return false;
  const { t, bpm, rr } = data as Partial<Record<keyof Beat, unknown>>;
  return typeof t === "number" && typeof bpm === "number" && typeof rr === "number";
}
