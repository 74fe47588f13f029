import { Centrifuge, type TransportEndpoint } from "centrifuge";
import { signal } from "@preact/signals";
import { Feed } from "./feed.ts";
import { Ledger, type Outage, type Position } from "./ledger.ts";

/** Transports of the server that the page can be told to use. */
export const transports = ["websocket", "http_stream", "sse"] as const;

/** Name of a transport. */
export type Transport = (typeof transports)[number];

/** State of the link. `attempts` counts failed attempts since it broke; `final` means that nobody retries. */
export interface Status {
  readonly name: "connecting" | "connected" | "disconnected";
  readonly since: number;
  readonly reason: string;
  readonly attempts: number;
  readonly final: boolean;
}

const latencyEvery = 2000;
const latencyKept = 5;

/**
 * The page's one connection to the server: the unmodified SDK client, its state as signals, the feeds that
 * run over it and the ledger of what was missed when it broke.
 */
export class Link {
  readonly status = signal<Status>(fresh("connecting", ""));
  readonly transport = signal("");
  readonly clientId = signal("");
  /** Median round trip of the last calls in milliseconds; null when the server does not answer the call. */
  readonly latency = signal<number | null>(null);
  readonly reconnects = signal(0);
  readonly outages = signal<readonly Outage[]>([]);
  readonly #client: Centrifuge;
  readonly #feeds = new Map<string, Feed>();
  readonly #ledger = new Ledger((outages) => (this.outages.value = outages));
  #everConnected = false;
  #latencies: number[] = [];
  #latencyTimer = 0;

  /** Starts connecting to the server that served the page, with a connection token if there is one. */
  constructor(base: string, forced: Transport | null, token: string) {
    this.#client = new Centrifuge(endpoints(base, forced), {
      emulationEndpoint: new URL("emulation", base).href,
      name: "myelin-console",
      token,
      minReconnectDelay: 200,
      maxReconnectDelay: 3000,
    });
    this.#listen();
    this.#client.connect();
  }

  /** The feed of a channel, subscribed while anyone follows it. */
  feed(channel: string): Feed {
    const known = this.#feeds.get(channel);
    if (known) return known;
    const feed = new Feed(this.#client, channel, {
      dropped: (f, reason) => {
        // When the whole link broke, its own event has told or will tell.
        if (this.#client.state === "connected") this.#ledger.channelLost(Date.now(), reason, f.channel, f.position);
      },
      answered: (f, answer) => this.#ledger.answered(f.channel, answer),
      recovered: (f, count) => this.#ledger.recovered(f.channel, count),
      abandoned: (f) => {
        this.#feeds.delete(f.channel);
        this.#ledger.forgotten(f.channel);
      },
    });
    this.#feeds.set(channel, feed);
    return feed;
  }

  /** The last position of every followed channel that has positions, by channel name. */
  places(): [string, Position][] {
    const places = [...this.#feeds.values()].flatMap((feed): [string, Position][] =>
      feed.position ? [[feed.channel, feed.position]] : [],
    );
    return places.sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Notes that `count` publications were read from history where recovery failed. */
  refilled(channel: string, count: number): void {
    this.#ledger.refilled(channel, count);
  }

  /** Calls a procedure of the server. */
  async rpc(method: string, data: unknown): Promise<unknown> {
    const result = await this.#client.rpc(method, data);
    return result.data as unknown;
  }

  /** Publishes to a channel without following it. */
  async publish(channel: string, data: unknown): Promise<void> {
    await this.#client.publish(channel, data);
  }

  /** Disconnects and comes back after `ms`, to show what an outage looks like. */
  cut(ms: number): void {
    if (this.status.peek().name !== "connected") return;
    this.#client.disconnect();
    setTimeout(() => this.#client.connect(), ms);
  }

  /** Connects again after the server refused for good. */
  connect(): void {
    this.#client.connect();
  }

  #listen(): void {
    const c = this.#client;
    c.on("connecting", ({ reason }) => {
      if (this.#everConnected) this.#lost(reason);
      const before = this.status.peek();
      const since = before.name === "connected" || !this.#everConnected ? Date.now() : before.since;
      this.status.value = { ...fresh("connecting", reason), since };
    });
    c.on("disconnected", ({ code, reason }) => {
      if (this.#everConnected) this.#lost(code === 0 ? "cut from this page" : `${reason} (${code})`);
      this.status.value = { ...fresh("disconnected", reason), final: code !== 0 };
    });
    c.on("connected", ({ client, transport }) => {
      this.#ledger.linkBack(Date.now());
      if (this.#everConnected) this.reconnects.value++;
      this.#everConnected = true;
      this.transport.value = transport;
      this.clientId.value = client;
      this.status.value = fresh("connected", "");
      this.#latencies = [];
      void this.#measure(client);
    });
    c.on("error", ({ error }) => {
      const status = this.status.peek();
      if (status.name !== "connecting") return;
      this.status.value = { ...status, attempts: status.attempts + 1, reason: status.reason || error.message };
    });
  }

  #lost(reason: string): void {
    if (this.status.peek().name !== "connected") return;
    const positions = new Map<string, Position | null>();
    for (const [channel, feed] of this.#feeds) {
      if (feed.state.peek().name !== "refused") positions.set(channel, feed.position);
    }
    this.#ledger.linkLost(Date.now(), reason, positions);
  }

  /** Measures the round trip for as long as this connection lives and the server answers. */
  async #measure(client: string): Promise<void> {
    clearTimeout(this.#latencyTimer);
    if (this.clientId.peek() !== client || this.status.peek().name !== "connected") return;
    const started = performance.now();
    try {
      await this.rpc("myelin.time", {});
      this.#latencies = [...this.#latencies, performance.now() - started].slice(-latencyKept);
      this.latency.value = median(this.#latencies);
    } catch (error) {
      this.#latencies = [];
      this.latency.value = null;
      if (serverCode(error) !== null) return;
    }
    this.#latencyTimer = window.setTimeout(() => void this.#measure(client), latencyEvery);
  }
}

/** The transport named in a query string, or null for the default list. */
export function forcedTransport(query: string): Transport | null {
  const wanted = new URLSearchParams(query).get("transport");
  return transports.find((name) => name === wanted) ?? null;
}

/** The server's own error code, or null when the call failed on its way. */
export function serverCode(error: unknown): number | null {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : null;
  return typeof code === "number" && code >= 100 ? code : null;
}

/** What to tell the user about a call that failed. */
export function failure(error: unknown): string {
  if (typeof error !== "object" || error === null || !("message" in error)) return String(error);
  const code = serverCode(error);
  return code === null ? String(error.message) : `${String(error.message)} (${code})`;
}

/** The connection token in the page's fragment (`#token=...`), which browsers send to no server, or "". */
export function fragmentToken(fragment: string): string {
  return new URLSearchParams(fragment.replace(/^#/, "")).get("token") ?? "";
}

function endpoints(base: string, forced: Transport | null): TransportEndpoint[] {
  return (forced ? [forced] : transports).map((transport) => {
    const url = new URL(`connection/${transport}`, base);
    if (transport === "websocket") url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return { transport, endpoint: url.href };
  });
}

function fresh(name: Status["name"], reason: string): Status {
  return { name, since: Date.now(), reason, attempts: 0, final: false };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
