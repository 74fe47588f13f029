import type { ClientInfo } from "centrifuge";
import { signal } from "@preact/signals";
import type { Publication } from "../link/feed.ts";
import { failure, type Link } from "../link/link.ts";
import { shortId } from "../ui/format.ts";

/** The channel of the chat. */
export const chatChannel = "chat:lobby";

/** A line of the log: what someone wrote, that someone came or left, or a break where messages may be lost. */
export interface Line {
  readonly key: string;
  readonly kind: "text" | "join" | "leave" | "break";
  /** The name on a message, the client id on a join or leave. */
  readonly who: string;
  readonly text: string;
  /** Unix milliseconds; null for what history gave, where the time is not known. */
  readonly at: number | null;
  readonly own: boolean;
  /** Missed during an outage and recovered. */
  readonly recovered: boolean;
  /** Place in the channel's history, or null; comparable within one generation. */
  readonly offset: number | null;
  /** Counts the epochs that the page has seen of the channel. */
  readonly generation: number;
}

const linesKept = 300;
const namesKept = 500;
const onLoad = 100;
const nameKey = "myelin.name";
const maxText = 500;

/** The chat: its log, who is there, and the own name. */
export class Room {
  readonly lines = signal<readonly Line[]>([]);
  /** Clients in the room by id; null when the server does not tell. */
  readonly present = signal<ReadonlyMap<string, ClientInfo> | null>(null);
  /** Names that clients have signed messages with, by client id. */
  readonly names = signal<ReadonlyMap<string, string>>(new Map());
  readonly name = signal(storedName());
  readonly #link: Link;
  #generation = 0;
  #serial = 0;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Follows the room until the returned function is called. */
  follow(): () => void {
    const feed = this.#link.feed(chatChannel);
    return feed.follow({
      publication: (p) => this.#take([p]),
      subscribed: (continuity) => {
        // A new epoch counts offsets anew: what is known must not hide what is new.
        if (continuity === "lost") {
          this.#generation++;
          this.#insert([this.#line("break", "", "")]);
        }
        void this.#roll();
        if (continuity !== "recovered") void this.#fill(continuity === "lost");
      },
      join: (info) => this.#joined(info),
      leave: (info) => this.#left(info),
    });
  }

  /** Sends a message; resolves to what went wrong, or "". */
  async send(text: string): Promise<string> {
    try {
      await this.#link.feed(chatChannel).publish({ from: this.name.peek(), text: text.slice(0, maxText) });
      return "";
    } catch (error) {
      return failure(error);
    }
  }

  /** Takes a new own name and keeps it over visits. An empty name changes nothing. */
  rename(name: string): void {
    const trimmed = name.trim().slice(0, 24);
    if (trimmed === "") return;
    this.name.value = trimmed;
    try {
      localStorage.setItem(nameKey, trimmed);
    } catch {
      // Storage may be denied to the page; then the name lasts for this visit.
      return;
    }
  }

  /** What to call a client: the name it signed with, or the start of its id. */
  called(client: string): string {
    if (client === this.#link.clientId.value) return this.name.value;
    return this.names.value.get(client) ?? shortId(client);
  }

  async #roll(): Promise<void> {
    try {
      const clients = await this.#link.feed(chatChannel).presence();
      this.present.value = new Map(clients.map((info) => [info.client, info]));
    } catch {
      this.present.value = null;
    }
  }

  async #fill(lost: boolean): Promise<void> {
    try {
      const past = await this.#link.feed(chatChannel).history(onLoad);
      this.#take(past);
      if (lost) this.#link.refilled(chatChannel, past.length);
    } catch {
      // A server that refuses history only costs the past.
      return;
    }
  }

  #take(publications: readonly Publication[]): void {
    const known = new Set(this.lines.peek().filter((l) => l.generation === this.#generation).map((l) => l.offset));
    const fresh: Line[] = [];
    const names = new Map(this.names.peek());
    for (const p of publications) {
      const { from, text } = (p.data ?? {}) as { from?: unknown; text?: unknown };
      if (typeof from !== "string" || typeof text !== "string") continue;
      if (p.client) names.set(p.client, from);
      if (p.offset !== null && known.has(p.offset)) continue;
      fresh.push({
        ...this.#line("text", from, text),
        at: p.how === "live" ? p.at : null,
        own: p.client !== null && p.client === this.#link.clientId.peek(),
        recovered: p.how === "recovered",
        offset: p.offset,
      });
    }
    this.names.value = new Map([...names].slice(-namesKept));
    this.#insert(fresh);
  }

  #joined(info: ClientInfo): void {
    const present = this.present.peek();
    if (present?.has(info.client)) return;
    if (present) this.present.value = new Map(present).set(info.client, info);
    this.#event("join", info);
  }

  #left(info: ClientInfo): void {
    const present = new Map(this.present.peek() ?? []);
    if (present.delete(info.client)) this.present.value = present;
    this.#event("leave", info);
  }

  #event(kind: "join" | "leave", info: ClientInfo): void {
    if (info.client === this.#link.clientId.peek()) return;
    this.#insert([this.#line(kind, this.names.peek().get(info.client) ?? shortId(info.client), "")]);
  }

  #line(kind: Line["kind"], who: string, text: string): Line {
    return {
      key: `${kind}-${this.#serial++}`,
      kind,
      who,
      text,
      at: Date.now(),
      own: false,
      recovered: false,
      offset: null,
      generation: this.#generation,
    };
  }

  /** Adds lines at the end, or, when they come from history, before what arrived live meanwhile. */
  #insert(fresh: readonly Line[]): void {
    const last = fresh.at(-1);
    if (!last) return;
    const lines = this.lines.peek();
    const later = lines.findIndex(
      (l) => last.offset !== null && l.offset !== null && l.generation === last.generation && l.offset > last.offset,
    );
    const at = later < 0 ? lines.length : later;
    this.lines.value = [...lines.slice(0, at), ...fresh, ...lines.slice(at)].slice(-linesKept);
  }
}

function storedName(): string {
  try {
    const name = localStorage.getItem(nameKey);
    if (name) return name;
  } catch {
    return invented();
  }
  return invented();
}

function invented(): string {
  const first = ["swift", "calm", "bright", "keen", "quiet", "brave", "merry", "clever"];
  const second = ["otter", "heron", "lynx", "finch", "marten", "ibex", "raven", "tern"];
  const pick = (from: readonly string[]) => from[Math.floor(Math.random() * from.length)] ?? "";
  return `${pick(first)}-${pick(second)}`;
}
