import { signal } from "@preact/signals";
import type { Publication } from "../link/feed.ts";
import type { Link } from "../link/link.ts";
import { isReading, merge, type Reading } from "./series.ts";

/** The channel of the machine's own telemetry. */
export const telemetryChannel = "host:telemetry";

const onLoad = 300;

/** What the page knows of the machine. */
export class Host {
  /** The readings of the last minutes, oldest first. A new array for every change. */
  readonly readings = signal<readonly Reading[]>([]);
  /** Milliseconds the server's clock is ahead of this browser's, by the last live reading. */
  readonly ahead = signal(0);
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Follows the channel until the returned function is called. */
  follow(): () => void {
    const feed = this.#link.feed(telemetryChannel);
    return feed.follow({
      publication: (p) => this.#take([p]),
      subscribed: async (continuity) => {
        if (continuity === "recovered") return;
        try {
          const past = await feed.history(onLoad);
          this.#take(past);
          if (continuity === "lost") this.#link.refilled(telemetryChannel, past.length);
        } catch {
          // A server that refuses history only costs the past.
          return;
        }
      },
    });
  }

  #take(publications: readonly Publication[]): void {
    const fresh = publications.map((p) => p.data).filter(isReading);
    const last = publications.at(-1);
    if (last?.how === "live" && fresh.length > 0) this.ahead.value = (fresh.at(-1)?.t ?? last.at) - last.at;
    if (fresh.length > 0) this.readings.value = merge(this.readings.peek(), fresh);
  }
}
