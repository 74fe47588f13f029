import { Panel } from "../ui/panel.tsx";
import { duration } from "../ui/format.ts";
import type { Api } from "./api.ts";
import { usePoll } from "./poll.ts";

interface Consumer {
  readonly consumer: string;
  readonly channel: string;
  readonly behind: number;
  readonly pending: number;
  readonly unacked: number;
  readonly oldest_ms: number;
  readonly seats: number;
  readonly node: string;
  readonly counts: { readonly acked: number; readonly redelivered: number; readonly dead_lettered: number; readonly expired: number; readonly lost: number };
}

interface Consumers {
  readonly consumers: readonly Consumer[];
}

const refreshMs = 2000;

/** How the acknowledged consumers stand: what lies before them, and for how long. */
export function ConsumersPanel({ api }: { readonly api: Api }) {
  const { answer, error } = usePoll<Consumers>(api, "consumer_list", { limit: 100 }, refreshMs);
  const list = answer.value?.consumers ?? [];
  return (
    <Panel id="consumers" title="Consumers" caption="what has been delivered and not acknowledged">
      {error.value !== "" && <p class="note bad">{error.value}</p>}
      <div class="scroll" data-testid="consumers">
        {answer.value && list.length === 0 && <p class="note">None.</p>}
        {list.length > 0 && (
          <table class="grid">
            <thead>
              <tr>
                <th>consumer</th>
                <th>channel</th>
                <th class="num">seats</th>
                <th class="num">behind</th>
                <th class="num">unacked</th>
                <th class="num">oldest</th>
                <th class="num">acked</th>
                <th class="num">again</th>
                <th class="num">dead</th>
                <th class="num">lost</th>
              </tr>
            </thead>
            <tbody>
              {list.map((c) => (
                <tr key={`${c.channel} ${c.consumer}`} data-consumer={c.consumer}>
                  <td>{c.consumer}</td>
                  <td>
                    <code>{c.channel}</code>
                  </td>
                  <td class="num">{c.seats}</td>
                  <td class="num">{c.behind}</td>
                  <td class="num">{c.pending}</td>
                  <td class={c.oldest_ms > 60000 ? "num red" : "num"}>{c.oldest_ms > 0 ? duration(c.oldest_ms) : ""}</td>
                  <td class="num">{c.counts.acked}</td>
                  <td class="num">{c.counts.redelivered}</td>
                  <td class={c.counts.dead_lettered > 0 ? "num amber" : "num"}>{c.counts.dead_lettered + c.counts.expired}</td>
                  <td class={c.counts.lost > 0 ? "num red" : "num"}>{c.counts.lost}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </div>
    </Panel>
  );
}
