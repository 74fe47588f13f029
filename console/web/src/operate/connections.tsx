import { useSignal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { bytes, duration, preciseClock, shortId } from "../ui/format.ts";
import { Panel } from "../ui/panel.tsx";
import { problem, type Api } from "./api.ts";
import { usePoll } from "./poll.ts";

interface Connection {
  readonly client: string;
  readonly user?: string;
  readonly node: string;
  readonly since: number;
  readonly subscriptions: number;
  readonly queued: number;
  readonly lanes?: Readonly<Record<string, number>>;
  readonly blocked_at?: number;
  readonly channels?: readonly string[];
}

interface Connections {
  readonly connections: readonly Connection[];
  readonly total: number;
}

interface Props {
  readonly api: Api;
  /** The client that is looked at, "" for none. */
  readonly client: Signal<string>;
}

const refreshMs = 2000;

/** Who is connected, those with the largest backlog first, and the live tail of one. */
export function ConnectionsPanel({ api, client }: Props) {
  const user = useSignal("");
  const wanted = user.value.trim();
  const { answer, error } = usePoll<Connections>(api, "connections", wanted === "" ? { limit: 100 } : { limit: 100, user: wanted }, refreshMs);
  const list = answer.value?.connections ?? [];
  return (
    <Panel
      id="connections"
      title="Connections"
      caption={answer.value ? `${answer.value.total} in all, the largest backlog first` : undefined}
      actions={
        <input
          data-testid="connections-user"
          aria-label="Only those of a user"
          placeholder="Only user"
          value={user.value}
          onInput={(event) => (user.value = event.currentTarget.value)}
        />
      }
    >
      <div class="split">
        <div class="scroll">
          {error.value !== "" && <p class="note bad">{error.value}</p>}
          <table class="grid" data-testid="connections">
            <thead>
              <tr>
                <th>client</th>
                <th>user</th>
                <th>node</th>
                <th class="num">channels</th>
                <th class="num">alarm</th>
                <th class="num">ordinary</th>
                <th class="num">bulk</th>
                <th class="num">backlog</th>
                <th>since</th>
              </tr>
            </thead>
            <tbody>
              {list.map((c) => (
                <Row key={c.client} connection={c} client={client} />
              ))}
            </tbody>
          </table>
        </div>
        <ClientTail key={client.value} api={api} client={client.value} known={list.find((c) => c.client === client.value)} />
      </div>
    </Panel>
  );
}

function Row({ connection: c, client }: { readonly connection: Connection; readonly client: Signal<string> }) {
  const stuck = c.blocked_at ? Date.now() - c.blocked_at : 0;
  return (
    <tr
      data-client={c.client}
      class={c.client === client.value ? "selected" : ""}
      onClick={() => (client.value = c.client === client.value ? "" : c.client)}
    >
      <td>
        <button type="button" class="link" title={c.client}>
          {shortId(c.client)}
        </button>
      </td>
      <td>{c.user ?? <span class="faint">anonymous</span>}</td>
      <td>{c.node}</td>
      <td class="num">{c.subscriptions}</td>
      {["alarm", "ordinary", "bulk"].map((lane) => (
        <td key={lane} class="num">
          {c.lanes?.[lane] ? bytes(c.lanes[lane] ?? 0) : <span class="faint">0</span>}
        </td>
      ))}
      <td class={stuck > 0 ? "num amber" : "num"} title={stuck > 0 ? `takes nothing since ${duration(stuck)}` : ""}>
        {c.queued > 0 ? bytes(c.queued) : <span class="faint">0</span>}
      </td>
      <td class="unit">{duration(Date.now() - c.since)}</td>
    </tr>
  );
}

interface Entry {
  readonly seq: number;
  readonly at: number;
  readonly sent: boolean;
  readonly bytes: number;
  readonly text: string;
}

interface Page {
  readonly node: string;
  readonly entries: readonly Entry[];
  readonly missed: number;
  readonly over: boolean;
}

const entriesKept = 200;
const retryMs = 1000;

interface TailProps {
  readonly api: Api;
  readonly client: string;
  readonly known: Connection | undefined;
}

/** What is exchanged with one client, newest first. */
function ClientTail({ api, client, known }: TailProps) {
  const entries = useSignal<readonly Entry[]>([]);
  const word = useSignal("");
  useEffect(() => {
    if (client === "") return;
    const over = new AbortController();
    const listen = async () => {
      let after = 0;
      while (!over.signal.aborted) {
        try {
          const page = await api.call<Page>("tail", { client, after }, over.signal);
          after = page.entries.at(-1)?.seq ?? after;
          if (page.entries.length > 0) entries.value = [...page.entries.toReversed(), ...entries.value].slice(0, entriesKept);
          word.value = page.over ? "The client has left." : page.missed > 0 ? `${page.missed} entries were missed.` : "";
          if (page.over) return;
        } catch (error) {
          if (over.signal.aborted) return;
          word.value = problem(error);
          await new Promise((resolve) => setTimeout(resolve, retryMs));
        }
      }
    };
    void listen();
    return () => over.abort();
  }, [client]);
  if (client === "") return <p class="note aside">Pick a client to listen to it: its commands, and what it is sent.</p>;
  return (
    <div class="aside">
      <p class="note">
        <code>{client}</code> {known?.channels && <span class="unit">{known.channels.join(", ")}</span>}
      </p>
      {word.value !== "" && <p class="note amber">{word.value}</p>}
      <ol class="exchange" data-testid="client-tail">
        {entries.value.map((e) => (
          <li key={e.seq} class={e.sent ? "sent" : "came"}>
            <time>{preciseClock(e.at)}</time>
            <span class="size">
              {e.sent ? "to" : "from"} {bytes(e.bytes)}
            </span>
            <code>{e.text}</code>
          </li>
        ))}
      </ol>
    </div>
  );
}
