import { signal } from "@preact/signals";
import { failure, serverCode, type Link } from "../link/link.ts";

/** A channel that someone is subscribed to. */
export interface ActiveChannel {
  readonly name: string;
  readonly clients: number;
}

const refreshEvery = 3000;

/** The server's active channels, asked for every 3 s while the page is visible and connected. */
export class Directory {
  readonly channels = signal<readonly ActiveChannel[]>([]);
  /** Why the server does not list its channels, or "". */
  readonly refused = signal("");
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Keeps the list current until the returned function is called. */
  follow(): () => void {
    const refresh = () => {
      if (!document.hidden && this.#link.status.peek().name === "connected") void this.#refresh();
    };
    const stop = this.#link.clientId.subscribe(refresh);
    const timer = window.setInterval(refresh, refreshEvery);
    document.addEventListener("visibilitychange", refresh);
    return () => {
      stop();
      clearInterval(timer);
      document.removeEventListener("visibilitychange", refresh);
    };
  }

  async #refresh(): Promise<void> {
    try {
      const answer = await this.#link.rpc("myelin.channels", { pattern: "" });
      this.channels.value = listed(answer);
      this.refused.value = "";
    } catch (error) {
      if (serverCode(error) !== null) this.refused.value = failure(error);
    }
  }
}

function listed(answer: unknown): ActiveChannel[] {
  const channels = (answer as { channels?: Record<string, { num_clients?: number }> } | null)?.channels ?? {};
  return Object.entries(channels)
    .map(([name, { num_clients }]) => ({ name, clients: num_clients ?? 0 }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
