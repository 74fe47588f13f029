import { useSignal } from "@preact/signals";
import { pretty } from "../channels/pretty.ts";
import { preciseClock } from "../ui/format.ts";
import { Panel } from "../ui/panel.tsx";
import { problem, type Api } from "./api.ts";

interface Entry {
  readonly key: string;
  readonly data: unknown;
  readonly offset: number;
  readonly score?: number;
  readonly time_ms: number;
}

interface Page {
  readonly entries: readonly Entry[];
  readonly cursor?: string;
  readonly offset: number;
}

const pageSize = 100;

/** The entries of a state channel, a page at a time. */
export function StatePanel({ api }: { readonly api: Api }) {
  const channel = useSignal("");
  const order = useSignal("key");
  const entries = useSignal<readonly Entry[]>([]);
  const next = useSignal("");
  const at = useSignal<number | null>(null);
  const wrong = useSignal("");
  const load = async (cursor: string) => {
    try {
      const page = await api.call<Page>("state_list", {
        channel: channel.value.trim(),
        limit: pageSize,
        ...(order.value === "key" ? {} : { order: order.value }),
        ...(cursor === "" ? {} : { cursor }),
      });
      entries.value = cursor === "" ? page.entries : [...entries.value, ...page.entries];
      next.value = page.cursor ?? "";
      at.value = page.offset;
      wrong.value = "";
    } catch (error) {
      wrong.value = problem(error);
    }
  };
  return (
    <Panel id="state" title="State" caption={at.value === null ? "the entries of a state channel" : `${entries.value.length} entries, as of offset ${at.value}`}>
      <form
        class="compose"
        onSubmit={(event) => {
          event.preventDefault();
          void load("");
        }}
      >
        <input data-testid="state-channel" aria-label="State channel" placeholder="State channel" value={channel.value} onInput={(e) => (channel.value = e.currentTarget.value)} />
        <select aria-label="Order" value={order.value} onChange={(e) => (order.value = e.currentTarget.value)}>
          <option value="key">by key</option>
          <option value="score">lowest score first</option>
          <option value="-score">highest score first</option>
        </select>
        <button type="submit" data-testid="state-open" disabled={channel.value.trim() === ""}>
          Show
        </button>
      </form>
      {wrong.value !== "" && <p class="note bad">{wrong.value}</p>}
      <div class="scroll" data-testid="state-entries">
        {at.value !== null && entries.value.length === 0 && <p class="note">The channel has no entries.</p>}
        <table class="grid">
          <tbody>
            {entries.value.map((e) => (
              <tr key={e.key} data-key={e.key}>
                <td>
                  <code>{e.key}</code>
                </td>
                <td class="num unit">#{e.offset}</td>
                <td class="num unit">{e.score ?? ""}</td>
                <td class="unit">{preciseClock(e.time_ms)}</td>
                <td>
                  <pre>{pretty(e.data)}</pre>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {next.value !== "" && (
          <button type="button" onClick={() => void load(next.value)}>
            More
          </button>
        )}
      </div>
    </Panel>
  );
}
