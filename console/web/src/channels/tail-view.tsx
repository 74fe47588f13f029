import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { failure } from "../link/link.ts";
import { FeedNote } from "../ui/feed-note.tsx";
import { bytes, preciseClock } from "../ui/format.ts";
import { tokens } from "./pretty.ts";
import type { Row, Tail } from "./tail.ts";

interface TailProps {
  readonly tail: Tail;
}

/** One channel as it happens, newest publication first. */
export function TailView({ tail }: TailProps) {
  const rows = tail.rows.value;
  const paused = tail.paused.value;
  return (
    <div class="tail">
      <div class="tail-head">
        <code class="subject" data-testid="tail-channel">
          {tail.feed.channel}
        </code>
        <span class="unit">
          {tail.rate.value.toFixed(1)}/s, <span data-testid="tail-total">{tail.total}</span> seen
        </span>
        <div class="actions">
          <button type="button" data-testid="tail-pause" aria-pressed={paused} onClick={() => tail.pause(!paused)}>
            {paused ? `Resume (${tail.held.value} new)` : "Pause"}
          </button>
          <button type="button" data-testid="tail-clear" onClick={() => tail.clear()}>
            Clear
          </button>
        </div>
      </div>
      <div class="rows" data-testid="tail-log" tabIndex={0} role="log" aria-live="off" aria-label="Publications, newest first">
        <FeedNote feed={tail.feed} empty={rows.length === 0} hint="Subscribed. Nothing has been published here yet." />
        {rows.map((row) => (
          <Entry key={row.key} row={row} />
        ))}
      </div>
      <Publish tail={tail} />
    </div>
  );
}

/** A row never changes: the same element every time spares drawing a hundred of them seven times a second. */
function Entry({ row }: { readonly row: Row }) {
  return useMemo(
    () => (
      <article class={`row ${row.how}`} data-offset={row.offset ?? ""}>
        <time>{row.how === "live" ? preciseClock(row.at) : row.how}</time>
        <span class="offset">{row.offset === null ? "no offset" : `#${row.offset}`}</span>
        <span class="size">{bytes(row.size)}</span>
        <pre>
          {tokens(row.text).map((token, i) => (
            <span key={i} class={token.kind}>
              {token.text}
            </span>
          ))}
        </pre>
      </article>
    ),
    [row],
  );
}

function Publish({ tail }: TailProps) {
  const text = useSignal("");
  const problem = useSignal("");
  const publish = async (event: Event) => {
    event.preventDefault();
    let data: unknown;
    try {
      data = JSON.parse(text.value);
    } catch {
      problem.value = 'That is not JSON. Try {"text": "hello"}, or "hello" with its quotes.';
      return;
    }
    try {
      await tail.feed.publish(data);
      problem.value = "";
      text.value = "";
    } catch (error) {
      problem.value = failure(error);
    }
  };
  return (
    <form class="compose" onSubmit={(event) => void publish(event)}>
      {problem.value !== "" && (
        <p class="note bad" role="alert">
          {problem.value}
        </p>
      )}
      <input
        class="mono"
        data-testid="publish-input"
        aria-label={`Publish JSON to ${tail.feed.channel}`}
        placeholder={`Publish to ${tail.feed.channel}: any JSON`}
        autocomplete="off"
        spellcheck={false}
        value={text.value}
        onInput={(event) => (text.value = event.currentTarget.value)}
      />
      <button type="submit" data-testid="publish-send" disabled={text.value.trim() === ""}>
        Publish
      </button>
    </form>
  );
}
