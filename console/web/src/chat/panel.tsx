import { useComputed, useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Link } from "../link/link.ts";
import { FeedNote } from "../ui/feed-note.tsx";
import { clock, shortId } from "../ui/format.ts";
import { Panel } from "../ui/panel.tsx";
import { chatChannel, type Line, type Room } from "./room.ts";

interface ChatProps {
  readonly link: Link;
  readonly room: Room;
}

const hues = ["cyan", "violet", "teal", "orange", "green", "pink"] as const;
const bottomSlack = 40;
const shownClients = 40;

/** The chat room with who is there. */
export function ChatPanel({ link, room }: ChatProps) {
  const empty = useComputed(() => room.lines.value.length === 0);
  return (
    <Panel id="chat" title="Chat" caption={<code>{chatChannel}</code>} actions={<NamePicker room={room} />}>
      <Presence link={link} room={room} />
      <Log room={room} />
      <FeedNote feed={link.feed(chatChannel)} empty={empty.value} hint="Nobody has said anything yet. Open this page in a second window and talk to yourself." />
      <Compose room={room} />
    </Panel>
  );
}

function NamePicker({ room }: { readonly room: Room }) {
  return (
    <label class="name">
      you are
      <input
        data-testid="chat-name"
        value={room.name.value}
        maxLength={24}
        size={12}
        autocomplete="off"
        spellcheck={false}
        onChange={(event) => {
          room.rename(event.currentTarget.value);
          event.currentTarget.value = room.name.peek();
        }}
      />
    </label>
  );
}

function Presence({ link, room }: ChatProps) {
  const present = room.present.value;
  if (!present) return null;
  const own = link.clientId.value;
  const clients = [...present.keys()].sort((a, b) => Number(b === own) - Number(a === own)).slice(0, shownClients);
  return (
    <div class="presence">
      <span class="count">{present.size} here</span>
      <ul data-testid="presence-list" aria-label="Clients in the room">
        {clients.map((client) => (
          <li key={client} title={`client ${client}`} data-client={client}>
            {room.called(client)}
            {client === own ? <small> you</small> : room.names.value.has(client) && <small> {shortId(client)}</small>}
          </li>
        ))}
        {present.size > clients.length && <li class="more">and {present.size - clients.length} more</li>}
      </ul>
    </div>
  );
}

function Log({ room }: { readonly room: Room }) {
  const list = useRef<HTMLDivElement>(null);
  const lines = room.lines.value;
  // Follow the newest line unless the reader has scrolled away from it.
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (list.current && atEnd.current) list.current.scrollTop = list.current.scrollHeight;
  }, [lines]);
  return (
    <div
      class="chat-log"
      ref={list}
      data-testid="chat-log"
      role="log"
      aria-label="Messages"
      tabIndex={0}
      onScroll={(event) => {
        const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
        atEnd.current = scrollHeight - scrollTop - clientHeight < bottomSlack;
      }}
    >
      <ol>
        {lines.map((line) => (
          <Entry key={line.key} line={line} />
        ))}
      </ol>
    </div>
  );
}

function Entry({ line }: { readonly line: Line }) {
  const time = line.at === null ? null : <time>{clock(line.at).slice(0, 5)}</time>;
  if (line.kind === "break") return <li class="break">the server could not recover what was said meanwhile</li>;
  if (line.kind !== "text") {
    return (
      <li class="event">
        <span>
          {line.who} {line.kind === "join" ? "joined" : "left"}
        </span>
        {time}
      </li>
    );
  }
  const classes = ["message", line.own ? "own" : "", line.recovered ? "recovered" : ""].join(" ").trim();
  return (
    <li class={classes} title={line.recovered ? "missed while the link was down, then recovered" : undefined}>
      <span>
        <b class={`who ${hue(line.who)}`}>{line.who}</b> {line.text}
      </span>
      {time}
    </li>
  );
}

function Compose({ room }: { readonly room: Room }) {
  const text = useSignal("");
  const problem = useSignal("");
  const send = async (event: Event) => {
    event.preventDefault();
    const message = text.value.trim();
    if (message === "") return;
    text.value = "";
    problem.value = await room.send(message);
    if (problem.value !== "" && text.value === "") text.value = message;
  };
  return (
    <form class="compose" onSubmit={(event) => void send(event)}>
      {problem.value !== "" && (
        <p class="note bad" role="alert">
          Not sent: {problem.value}
        </p>
      )}
      <input
        data-testid="chat-input"
        aria-label="Message"
        placeholder={`Say something as ${room.name.value}`}
        maxLength={500}
        autocomplete="off"
        value={text.value}
        onInput={(event) => (text.value = event.currentTarget.value)}
      />
      <button type="submit" data-testid="chat-send">
        Send
      </button>
    </form>
  );
}

/** The same name always has the same color. */
function hue(name: string): string {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hues[sum % hues.length] ?? "cyan";
}
