import { useSignal, type ReadonlySignal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Link } from "../link/link.ts";
import { Panel } from "../ui/panel.tsx";
import type { ActiveChannel, Directory } from "./directory.ts";
import { TailView } from "./tail-view.tsx";
import { Tail } from "./tail.ts";

interface ChannelsProps {
  readonly link: Link;
  readonly directory: Directory;
  /** The channel to open first, so that the panel shows by itself what it is for; "" for none. */
  readonly first: string;
}

const shown = 200;

/** The channel browser: what is active, and the live tail of any channel. */
export function ChannelsPanel({ link, directory, first }: ChannelsProps) {
  const wanted = useSignal("");
  const tail = useSignal<Tail | null>(null);
  const open = (channel: string) => {
    if (channel === "" || tail.peek()?.feed.channel === channel) return;
    tail.peek()?.close();
    tail.value = new Tail(link, channel);
  };
  useEffect(() => {
    open(first);
    return () => tail.peek()?.close();
  }, [first]);
  return (
    <Panel id="channels" title="Channels" caption="every active channel of the server; open one to watch it">
      <div class="browser">
        <div class="directory">
          <form
            onSubmit={(event) => {
              event.preventDefault();
              open(wanted.value.trim());
            }}
          >
            <input
              data-testid="channel-input"
              aria-label="Filter the list, or name any channel to open"
              placeholder="Filter, or open any channel"
              maxLength={255}
              autocomplete="off"
              spellcheck={false}
              value={wanted.value}
              onInput={(event) => (wanted.value = event.currentTarget.value)}
            />
            <button type="submit" data-testid="channel-open" disabled={wanted.value.trim() === ""}>
              Open
            </button>
          </form>
          <List directory={directory} wanted={wanted} tail={tail} open={open} />
        </div>
        {tail.value ? (
          <TailView key={tail.value.feed.channel} tail={tail.value} />
        ) : (
          <div class="tail empty" data-testid="tail-log">
            <p class="note">Pick a channel to see each publication as it arrives: its time, offset, size and data.</p>
          </div>
        )}
      </div>
    </Panel>
  );
}

interface ListProps {
  readonly directory: Directory;
  readonly wanted: ReadonlySignal<string>;
  readonly tail: Signal<Tail | null>;
  readonly open: (channel: string) => void;
}

function List({ directory, wanted, tail, open }: ListProps) {
  if (directory.refused.value !== "") return <Refusal reason={directory.refused.value} />;
  const filter = wanted.value.trim();
  const all = directory.channels.value;
  const matching = all.filter((channel) => channel.name.includes(filter));
  // A name that is being typed and matches nothing is a channel to open, not a reason to hide the list.
  const list = matching.length > 0 ? matching : all;
  return (
    <>
      <p class="list-head">
        <span>{matching.length > 0 && filter !== "" ? "matching" : "active"}</span>
        <span>clients</span>
      </p>
      <ul class="channel-list" data-testid="channel-list">
        {list.slice(0, shown).map((channel) => (
          <li key={channel.name}>
            <Entry channel={channel} selected={tail.value?.feed.channel === channel.name} open={open} />
          </li>
        ))}
        {list.length > shown && <li class="note">and {list.length - shown} more: type to narrow down</li>}
      </ul>
    </>
  );
}

interface EntryProps {
  readonly channel: ActiveChannel;
  readonly selected: boolean;
  readonly open: (channel: string) => void;
}

function Entry({ channel, selected, open }: EntryProps) {
  const colon = channel.name.indexOf(":") + 1;
  const clients = channel.clients === 1 ? "1 client" : `${channel.clients} clients`;
  return (
    <button type="button" aria-pressed={selected} data-channel={channel.name} onClick={() => open(channel.name)}>
      <code>
        <span class="namespace">{channel.name.slice(0, colon)}</span>
        {channel.name.slice(colon)}
      </code>
      <span class="clients" title={clients} aria-label={clients}>
        {channel.clients}
      </span>
    </button>
  );
}

function Refusal({ reason }: { readonly reason: string }) {
  return (
    <div class="note" data-testid="channel-list">
      <p>
        The server does not list its channels to this connection: <b>{reason}</b>.
      </p>
      <p>
        It does with <code>myelin serve --dev</code>; elsewhere the HTTP API's <code>channels</code> tells, to whoever has
        its key. Any channel you may subscribe to still opens by name above.
      </p>
    </div>
  );
}
