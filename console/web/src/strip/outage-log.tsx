import type { Signal } from "@preact/signals";
import { explanation, places, verdict, type Fate, type Outage } from "../link/ledger.ts";
import type { Link } from "../link/link.ts";
import { clock, duration } from "../ui/format.ts";
import { Panel } from "../ui/panel.tsx";

interface OutageLogProps {
  readonly link: Link;
  readonly now: Signal<number>;
}

const marks: Readonly<Record<Fate["outcome"], string>> = { waiting: "\u2026", recovered: "\u2713", lost: "\u2717", fresh: "\u2013" };

/** What the page missed in each outage, channel by channel, and what the server could give back. */
export function OutageLog({ link, now }: OutageLogProps) {
  const outages = link.outages.value;
  return (
    <Panel id="outages" title="What you missed" caption="outages of this page's link">
      <div class="outages" data-testid="recovery-log" data-outages={outages.length} tabIndex={0} role="log" aria-label="Outages">
        {outages.length === 0 && (
          <>
            <p class="note">
              Nothing yet. Stop the server, or cut the link for 3 s above: the page comes back by itself and tells here what
              each channel missed and what was recovered.
            </p>
            <Positions link={link} now={now} />
          </>
        )}
        {outages.map((outage) => (
          <Entry key={outage.id} outage={outage} now={now} />
        ))}
      </div>
    </Panel>
  );
}

/** Where the page stands in each channel: what it will ask the server to continue from. */
function Positions({ link, now }: OutageLogProps) {
  now.value;
  const standing = link.places();
  if (standing.length === 0) return null;
  return (
    <table class="positions">
      <caption>The page would continue from here:</caption>
      <tbody>
        {standing.map(([channel, position]) => (
          <tr key={channel}>
            <th scope="row">
              <code>{channel}</code>
            </th>
            <td>#{position.offset}</td>
            <td class="unit">epoch {position.epoch}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface EntryProps {
  readonly outage: Outage;
  readonly now: Signal<number>;
}

function Entry({ outage, now }: EntryProps) {
  const open = outage.to === null;
  const length = duration((outage.to ?? Math.max(now.value, outage.from)) - outage.from);
  return (
    <article class={open ? "outage open" : "outage"}>
      <h3>
        <time>{clock(outage.from)}</time> <b>{open ? `offline for ${length}` : `offline ${length}`}</b>{" "}
        <span class="unit">{outage.reason}</span>
      </h3>
      <ul>
        {outage.fates.map((fate) => (
          <FateLine key={fate.channel} fate={fate} />
        ))}
      </ul>
    </article>
  );
}

function FateLine({ fate }: { readonly fate: Fate }) {
  const why = explanation(fate);
  return (
    <li class={fate.outcome} title={places(fate)} data-channel={fate.channel} data-outcome={fate.outcome} data-recovered={fate.recovered}>
      <i aria-hidden="true">{marks[fate.outcome]}</i>
      <code>{fate.channel}</code>
      <span class="verdict">{verdict(fate)}</span>
      {why !== "" && <small>{why}</small>}
    </li>
  );
}
