import type { Centrifuge, ClientInfo, PublicationContext, SubscribedContext, Subscription } from "centrifuge";
import { signal } from "@preact/signals";
import type { Answer, Position } from "./ledger.ts";

/** How a publication reached the page: as it happened, on recovery after an outage, or read from history. */
export type How = "live" | "recovered" | "history";

/** One publication of a channel. `at` is when it reached the page, in Unix milliseconds. */
export interface Publication {
  readonly data: unknown;
  readonly offset: number | null;
  /** The client that published it, when a client did. */
  readonly client: string | null;
  readonly at: number;
  readonly how: How;
}

/** Whether continuity holds from what was seen before: nothing before, all of it, or broken. */
export type Continuity = "fresh" | "recovered" | "lost";

/** Someone on the page who follows a channel. */
export interface Follower {
  publication(publication: Publication): void;
  subscribed?(continuity: Continuity): void;
  join?(info: ClientInfo): void;
  leave?(info: ClientInfo): void;
}

/** State of a feed; `problem` says why it is not live when the server refused it, `code` is the server's for that or 0. */
export interface FeedState {
  readonly name: "subscribing" | "live" | "refused";
  readonly problem: string;
  readonly code: number;
}

/** What a feed tells the link about its subscription. */
export interface FeedEvents {
  dropped(feed: Feed, reason: string): void;
  answered(feed: Feed, answer: Answer): void;
  recovered(feed: Feed, count: number): void;
  abandoned(feed: Feed): void;
}

/**
 * One channel, shared by every follower on the page: the SDK allows one subscription per channel. The
 * subscription lives from the first follower to the last.
 */
export class Feed {
  readonly channel: string;
  readonly state = signal<FeedState>({ name: "subscribing", problem: "", code: 0 });
  readonly #client: Centrifuge;
  readonly #events: FeedEvents;
  readonly #subscription: Subscription;
  readonly #followers = new Set<Follower>();
  #position: Position | null = null;
  #recovering = false;
  #recovered = 0;

  constructor(client: Centrifuge, channel: string, events: FeedEvents) {
    this.channel = channel;
    this.#client = client;
    this.#events = events;
    this.#subscription = client.newSubscription(channel, { recoverable: true, positioned: true, joinLeave: true });
    this.#listen();
    this.#subscription.subscribe();
  }

  /** The last position seen, or null for a channel without history. */
  get position(): Position | null {
    return this.#position;
  }

  /** Follows the channel until the returned function is called. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    if (this.state.peek().name === "live") {
      queueMicrotask(() => {
        if (this.#followers.has(follower)) follower.subscribed?.("fresh");
      });
    }
    return () => {
      if (!this.#followers.delete(follower) || this.#followers.size > 0) return;
      this.#subscription.unsubscribe();
      this.#client.removeSubscription(this.#subscription);
      this.#events.abandoned(this);
    };
  }

  /** The newest publications in history, oldest first, at most `limit`. */
  async history(limit: number): Promise<Publication[]> {
    const result = await this.#subscription.history({ limit, reverse: true });
    return result.publications.map((context) => publication(context, "history")).reverse();
  }

  /** The clients that are subscribed to the channel now. */
  async presence(): Promise<ClientInfo[]> {
    const result = await this.#subscription.presence();
    return Object.values(result.clients);
  }

  /** Publishes to the channel and resolves when the server has accepted it. */
  async publish(data: unknown): Promise<void> {
    await this.#subscription.publish(data);
  }

  #listen(): void {
    const s = this.#subscription;
    s.on("subscribed", (context) => this.#subscribed(context));
    s.on("publication", (context) => this.#received(context));
    s.on("join", ({ info }) => this.#followers.forEach((f) => f.join?.(info)));
    s.on("leave", ({ info }) => this.#followers.forEach((f) => f.leave?.(info)));
    s.on("subscribing", ({ reason }) => {
      const wasLive = this.state.peek().name === "live";
      this.state.value = { name: "subscribing", problem: "", code: 0 };
      if (wasLive) this.#events.dropped(this, reason);
    });
    s.on("unsubscribed", ({ code, reason }) => {
      // Code 0 is this page's own unsubscribe.
      if (code !== 0) this.state.value = { name: "refused", problem: `${reason} (${code})`, code };
    });
    s.on("error", ({ error }) => {
      if (this.state.peek().name === "subscribing") {
        this.state.value = { name: "subscribing", problem: `${error.message} (${error.code})`, code: error.code };
      }
    });
  }

  #subscribed(context: SubscribedContext): void {
    const { wasRecovering, recovered, streamPosition } = context;
    this.#position = streamPosition ?? null;
    this.state.value = { name: "live", problem: "", code: 0 };
    this.#events.answered(this, { wasRecovering, recovered, position: this.#position });
    if (wasRecovering && recovered) {
      // The SDK delivers what was recovered in the same turn, right after this event.
      this.#recovering = true;
      this.#recovered = 0;
      queueMicrotask(() => {
        this.#recovering = false;
        this.#events.recovered(this, this.#recovered);
      });
    }
    const continuity: Continuity = !wasRecovering ? "fresh" : recovered ? "recovered" : "lost";
    for (const follower of [...this.#followers]) follower.subscribed?.(continuity);
  }

  #received(context: PublicationContext): void {
    if (this.#recovering) this.#recovered++;
    if (context.offset !== undefined && this.#position) {
      this.#position = { epoch: this.#position.epoch, offset: context.offset };
    }
    const received = publication(context, this.#recovering ? "recovered" : "live");
    for (const follower of [...this.#followers]) follower.publication(received);
  }
}

function publication(context: PublicationContext, how: How): Publication {
  return {
    data: context.data,
    offset: context.offset ?? null,
    client: context.info?.client ?? null,
    at: Date.now(),
    how,
  };
}
