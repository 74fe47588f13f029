import type { Signal } from "@preact/signals";
import { transports, type Link, type Status, type Transport } from "../link/link.ts";
import { duration, shortId } from "../ui/format.ts";
import type { Theme } from "../ui/theme.ts";

interface StripProps {
  readonly link: Link;
  readonly theme: Theme;
  readonly forced: Transport | null;
  readonly operating: boolean;
  readonly now: Signal<number>;
}

const cutMs = 3000;

const transportNames: Readonly<Record<string, string>> = {
  websocket: "WebSocket",
  http_stream: "HTTP streaming",
  sse: "SSE",
};

/** The top line of the page: whether the link is up, how it runs and what can be done to it. */
export function Strip({ link, theme, forced, operating, now }: StripProps) {
  const status = link.status.value;
  const latency = link.latency.value;
  return (
    <header class={`strip ${status.name}`}>
      <h1>
        <Logo /> Myelin
      </h1>
      <nav class="views" aria-label="Views">
        <a href={`./${window.location.hash}`} data-testid="view-live" aria-current={operating ? undefined : "page"}>
          Live
        </a>
        <a href={`./?view=operate${window.location.hash}`} data-testid="view-operate" aria-current={operating ? "page" : undefined}>
          Operate
        </a>
      </nav>
      <State status={status} now={now} />
      <dl class="facts">
        <TransportPicker current={link.transport.value} forced={forced} />
        {latency !== null && status.name === "connected" && (
          <Fact name="round trip" testid="latency" value={`${latency.toFixed(1)} ms`} />
        )}
        <Fact name="client" testid="client-id" value={shortId(link.clientId.value) || "none"} title={link.clientId.value} />
        <Fact name="reconnects" testid="reconnects" value={String(link.reconnects.value)} />
      </dl>
      <div class="actions">
        {status.name === "disconnected" && status.final ? (
          <button type="button" onClick={() => link.connect()}>
            Connect
          </button>
        ) : (
          <button
            type="button"
            data-testid="cut"
            disabled={status.name !== "connected"}
            title="Disconnects this page and comes back, to show what an outage looks like"
            onClick={() => link.cut(cutMs)}
          >
            Cut the link for {cutMs / 1000} s
          </button>
        )}
        <button type="button" class="quiet" data-testid="theme" title="Colors of the page" aria-label={`Colors: ${theme.choice.value}`} onClick={() => theme.next()}>
          <ThemeIcon /> <span>{theme.choice.value}</span>
        </button>
      </div>
    </header>
  );
}

interface StateProps {
  readonly status: Status;
  readonly now: Signal<number>;
}

function State({ status, now }: StateProps) {
  return (
    <p class="state" role="status" data-testid="status" data-state={status.name}>
      <i class="lamp" aria-hidden="true" />
      <b>{label(status)}</b>
      {status.name !== "connected" && <span class="unit">{duration(Math.max(0, now.value - status.since))}</span>}
      {status.name !== "connected" && <span class="why">{explain(status)}</span>}
    </p>
  );
}

function label(status: Status): string {
  if (status.name === "connected") return "Connected";
  if (status.name === "connecting") return status.reason === "connect called" ? "Connecting" : "Reconnecting";
  return "Disconnected";
}

function explain(status: Status): string {
  if (status.name === "disconnected") return status.final ? `refused: ${status.reason}. With a token, open this page as /#token=...` : "cut from this page";
  const tries = status.attempts === 0 ? "" : status.attempts === 1 ? ", 1 attempt failed" : `, ${status.attempts} attempts failed`;
  return `${status.reason}${tries}`;
}

interface FactProps {
  readonly name: string;
  readonly value: string;
  readonly testid: string;
  readonly title?: string;
}

function Fact({ name, value, testid, title }: FactProps) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd data-testid={testid} title={title}>
        {value}
      </dd>
    </div>
  );
}

interface TransportPickerProps {
  readonly current: string;
  readonly forced: Transport | null;
}

/** The transport in use; choosing another loads the page again with it. */
function TransportPicker({ current, forced }: TransportPickerProps) {
  return (
    <div class="fact">
      <dt>transport</dt>
      <dd>
        <select
          data-testid="transport"
          data-transport={current}
          aria-label="Transport"
          value={forced ?? ""}
          onChange={(event) => {
            const url = new URL(window.location.href);
            url.searchParams.delete("transport");
            if (event.currentTarget.value !== "") url.searchParams.set("transport", event.currentTarget.value);
            window.location.assign(url);
          }}
        >
          <option value="">{current === "" || forced ? "automatic" : `${transportNames[current] ?? current} (auto)`}</option>
          {transports.map((name) => (
            <option key={name} value={name}>
              {transportNames[name]}
            </option>
          ))}
        </select>
      </dd>
    </div>
  );
}

function ThemeIcon() {
  return (
    <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true">
      <circle cx="8" cy="8" r="6.5" fill="none" stroke="currentColor" stroke-width="1.5" />
      <path d="M8 1.5a6.5 6.5 0 0 1 0 13z" fill="currentColor" />
    </svg>
  );
}

function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
      <path data-pulse d="M2 17h8l2-4 3 11 4-18 3 14 2-3h6" fill="none" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}
