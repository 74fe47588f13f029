import type { ComponentChildren } from "preact";
import type { Feed } from "../link/feed.ts";

interface FeedNoteProps {
  readonly feed: Feed;
  /** Whether anything of the channel is on the page already. */
  readonly empty: boolean;
  /** What to do when the channel is live and silent. */
  readonly hint: ComponentChildren;
}

/** The hint of a panel that shows what the demo feeds. */
export const demoHint = (
  <>
    Live, but silent: nobody feeds this channel. <code>myelin demo</code> does.
  </>
);

/** Says why a panel has nothing to show: refused, waiting, or live and silent. Nothing when it has. */
export function FeedNote({ feed, empty, hint }: FeedNoteProps) {
  const { name, problem } = feed.state.value;
  if (name === "refused") {
    return (
      <p class="note bad">
        The server refused <code>{feed.channel}</code>: {problem}
      </p>
    );
  }
  if (problem !== "") {
    return (
      <p class="note bad">
        <code>{feed.channel}</code>: {problem}, trying again
      </p>
    );
  }
  if (!empty) return null;
  return <p class="note">{name === "live" ? hint : `Subscribing to ${feed.channel}`}</p>;
}
