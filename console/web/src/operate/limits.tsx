import { Panel } from "../ui/panel.tsx";
import type { Api } from "./api.ts";
import { usePoll } from "./poll.ts";

interface Limits {
  readonly nodes: readonly { readonly node: string; readonly limits: Readonly<Record<string, number>>; readonly silent?: boolean }[];
}

const refreshMs = 3000;

/** Which limits were hit on which node, since it started. */
export function LimitsPanel({ api }: { readonly api: Api }) {
  const { answer, error } = usePoll<Limits>(api, "limits", {}, refreshMs);
  const rows = (answer.value?.nodes ?? []).flatMap((n) => Object.entries(n.limits).map(([name, count]) => ({ node: n.node, name, count })));
  rows.sort((a, b) => b.count - a.count);
  return (
    <Panel id="limits" title="Limits hit" caption="since each node started">
      {error.value !== "" && <p class="note bad">{error.value}</p>}
      <div class="scroll" data-testid="limits">
        {answer.value && rows.length === 0 && <p class="note">None.</p>}
        {rows.length > 0 && (
          <table class="grid">
            <tbody>
              {rows.map((r) => (
                <tr key={`${r.node} ${r.name}`} data-limit={r.name}>
                  <td>{r.name}</td>
                  <td class="unit">{r.node}</td>
                  <td class="num">{r.count}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </div>
    </Panel>
  );
}
