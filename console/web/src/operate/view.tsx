import { useSignal } from "@preact/signals";
import type { Api } from "./api.ts";
import { ConnectionsPanel } from "./connections.tsx";
import { ConsumersPanel } from "./consumers.tsx";
import { ExplainPanel } from "./explain.tsx";
import { LimitsPanel } from "./limits.tsx";
import { StatePanel } from "./state.tsx";

/** What an operator looks at: who is connected and behind, what became of a publication, entries, consumers, limits. */
export function Operate({ api }: { readonly api: Api }) {
  const client = useSignal("");
  if (api.locked.value) return <Key api={api} />;
  return (
    <main class="operate">
      <ConnectionsPanel api={api} client={client} />
      <ExplainPanel api={api} client={client} />
      <StatePanel api={api} />
      <ConsumersPanel api={api} />
      <LimitsPanel api={api} />
    </main>
  );
}

/** Asks for the key of the HTTP API, without which there is nothing to show. */
function Key({ api }: { readonly api: Api }) {
  const key = useSignal("");
  return (
    <main class="operate locked">
      <form
        class="key"
        onSubmit={(event) => {
          event.preventDefault();
          api.unlock(key.value.trim());
        }}
      >
        <p>
          These pages use the HTTP API. Enter its key, <code>api.key</code> of the configuration. It stays in this tab.
        </p>
        <input
          type="password"
          data-testid="api-key"
          aria-label="Key of the HTTP API"
          autocomplete="off"
          value={key.value}
          onInput={(event) => (key.value = event.currentTarget.value)}
        />
        <button type="submit" data-testid="api-unlock" disabled={key.value.trim() === ""}>
          Open
        </button>
      </form>
    </main>
  );
}
