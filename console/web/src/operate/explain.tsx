import { useSignal, type Signal } from "@preact/signals";
import { bytes, preciseClock } from "../ui/format.ts";
import { Panel } from "../ui/panel.tsx";
import { problem, type Api } from "./api.ts";

interface Explanation {
  readonly published: { readonly time: number; readonly size: number; readonly key?: string } | null;
  readonly offset: number;
  readonly epoch: string;
  readonly clients?: readonly { readonly verdict: string; readonly reason: string; readonly known?: { readonly client: string; readonly node: string } }[];
  readonly consumers?: readonly Consumed[];
  readonly more_consumers?: number;
  readonly nodes?: readonly { readonly node: string; readonly subscribers: number; readonly reached: number; readonly silent?: boolean }[];
}

interface Consumed {
  readonly consumer: string;
  readonly verdict: string;
  readonly reason: string;
  readonly attempts?: number;
  readonly client?: string;
  readonly user?: string;
  readonly dead_letter?: string;
  readonly node?: string;
  readonly connection?: { readonly verdict: string; readonly reason: string };
}

const good = ["received", "written", "acknowledged"];
const bad = ["given_up"];

const tone = (verdict: string) => (good.includes(verdict) ? "green" : bad.includes(verdict) ? "red" : "amber");

interface Props {
  readonly api: Api;
  readonly client: Signal<string>;
}

/** "Why did this client not get it?" */
export function ExplainPanel({ api, client }: Props) {
  const channel = useSignal("");
  const offset = useSignal("");
  const answer = useSignal<Explanation | null>(null);
  const wrong = useSignal("");
  const ask = async (event: Event) => {
    event.preventDefault();
    try {
      const request = { channel: channel.value.trim(), offset: Number(offset.value), ...(client.value === "" ? {} : { client: client.value }) };
      answer.value = await api.call<Explanation>("explain", request);
      wrong.value = "";
    } catch (error) {
      answer.value = null;
      wrong.value = problem(error);
    }
  };
  return (
    <Panel id="explain" title="Explain" caption="what became of one publication: for the picked client, or on all nodes, and at each consumer">
      <form class="compose" onSubmit={(event) => void ask(event)}>
        <input data-testid="explain-channel" aria-label="Channel" placeholder="Channel" value={channel.value} onInput={(e) => (channel.value = e.currentTarget.value)} />
        <input data-testid="explain-offset" aria-label="Offset" placeholder="Offset" inputMode="numeric" value={offset.value} onInput={(e) => (offset.value = e.currentTarget.value)} />
        <input data-testid="explain-client" aria-label="Client" placeholder="Client, or all nodes" value={client.value} onInput={(e) => (client.value = e.currentTarget.value.trim())} />
        <button type="submit" data-testid="explain-ask" disabled={channel.value.trim() === "" || !/^\d+$/.test(offset.value)}>
          Why?
        </button>
      </form>
      {wrong.value !== "" && <p class="note bad">{wrong.value}</p>}
      {answer.value && <Answer answer={answer.value} />}
    </Panel>
  );
}

function Answer({ answer }: { readonly answer: Explanation }) {
  const p = answer.published;
  return (
    <div class="answer scroll" data-testid="explain-answer">
      <p class="note">
        {p ? `Published at ${preciseClock(p.time)}, ${bytes(p.size)}${p.key ? `, key ${p.key}` : ""}.` : "It is not kept any more, or never was."} The channel is at {answer.offset}.
      </p>
      {answer.clients?.map((c, i) => (
        <p key={i} class="verdict" data-verdict={c.verdict}>
          <b class={tone(c.verdict)}>{c.verdict.replaceAll("_", " ")}</b> {c.known && <span class="unit">on {c.known.node}</span>}
          <br />
          {c.reason}
        </p>
      ))}
      {answer.consumers?.map((c) => (
        <p key={c.consumer} class="verdict" data-testid="explain-consumer" data-verdict={c.verdict}>
          <b class={tone(c.verdict)}>{c.verdict.replaceAll("_", " ")}</b> by consumer <b>{c.consumer}</b> {c.node && <span class="unit">on {c.node}</span>}
          <br />
          {c.reason}
          {c.client && `; the last delivery went to ${c.user ? `${c.user}, client ` : ""}${c.client}`}.
          {c.connection && ` On its connection: ${c.connection.verdict.replaceAll("_", " ")}.`}
        </p>
      ))}
      {answer.more_consumers && <p class="note">{answer.more_consumers} more consumers were not looked at.</p>}
      {answer.nodes?.map((n) => (
        <p key={n.node} class="verdict">
          <b>{n.node}</b> {n.silent ? <span class="red">does not answer</span> : `${n.reached} of ${n.subscribers} subscribers were handed it`}
        </p>
      ))}
    </div>
  );
}
