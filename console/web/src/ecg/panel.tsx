import { useComputed, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Link } from "../link/link.ts";
import { demoHint, FeedNote } from "../ui/feed-note.tsx";
import { Panel } from "../ui/panel.tsx";
import type { Theme } from "../ui/theme.ts";
import { ecgChannel, rateChannel, type Heart } from "./heart.ts";
import { Monitor } from "./monitor.ts";
import { Trend } from "./trend.tsx";

interface EcgPanelProps {
  readonly link: Link;
  readonly heart: Heart;
  readonly theme: Theme;
  /** Ticks once a second, with the time in Unix milliseconds. */
  readonly now: Signal<number>;
}

const silentMs = 2000;

/** Whether the trace stands still, because the link is down or the device is silent. */
function useSilence({ link, heart, now }: EcgPanelProps): boolean {
  return useComputed(() => {
    if (link.status.value.name !== "connected") return true;
    return heart.arrived.value > 0 && now.value - heart.arrived.value > silentMs;
  }).value;
}

/** The patient monitor: the sweep, the heart rate, the R-R interval and the trend. */
export function EcgPanel(props: EcgPanelProps) {
  const caption = (
    <>
      Bed 1, live from <code>{ecgChannel}</code>: 360 samples a second in 10 publications
    </>
  );
  return (
    <Panel id="ecg" title="ECG" caption={caption}>
      <div class="monitor">
        <Sweep {...props} />
        <Vitals {...props} />
      </div>
    </Panel>
  );
}

function Sweep(props: EcgPanelProps) {
  const { link, heart, theme } = props;
  const host = useRef<HTMLDivElement>(null);
  const grid = useRef<HTMLCanvasElement>(null);
  const trace = useRef<HTMLCanvasElement>(null);
  const empty = useComputed(() => heart.samples.value === 0);
  useEffect(() => {
    if (!host.current || !grid.current || !trace.current) return;
    const monitor = new Monitor(host.current, grid.current, trace.current, heart, theme);
    return () => monitor.stop();
  }, [heart, theme]);
  const down = useSilence(props);
  return (
    <div class={down ? "sweep down" : "sweep"} ref={host}>
      <canvas ref={grid} aria-hidden="true" />
      <canvas
        ref={trace}
        data-testid="ecg"
        data-samples={heart.samples}
        data-recovered={heart.recovered}
        role="img"
        aria-label="Live electrocardiogram of bed 1, sweeping from left to right"
      />
      {link.outages.value.length > 0 && (
        <span class="legend">
          <span class="amber">recovered</span> <span class="red">missing</span>
        </span>
      )}
      <span class="scale">one square: 0.2 s, 0.5 mV</span>
      {down && <span class="no-signal">NO SIGNAL</span>}
      <FeedNote
        feed={link.feed(ecgChannel)}
        empty={empty.value}
        hint={demoHint}
      />
    </div>
  );
}

function Vitals(props: EcgPanelProps) {
  const { heart, theme } = props;
  const beat = heart.beat.value;
  const stale = useSilence(props);
  return (
    <div class={stale ? "vitals stale" : "vitals"}>
      <div class="vital rate">
        <h3>
          Heart rate <HeartIcon />
        </h3>
        <p>
          <strong data-testid="bpm">{beat ? Math.round(beat.bpm) : "--"}</strong> <span class="unit">bpm</span>
        </p>
      </div>
      <div class="vital interval">
        <h3>R-R interval</h3>
        <p>
          <strong data-testid="rr">{beat ? beat.rr : "--"}</strong> <span class="unit">ms</span>
        </p>
      </div>
      <Trend heart={heart} theme={theme} channel={rateChannel} />
    </div>
  );
}

function HeartIcon() {
  return (
    <svg class="heart" data-pulse viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
      <path d="M8 14 1.8 7.9a3.9 3.9 0 0 1 5.5-5.5l.7.7.7-.7a3.9 3.9 0 0 1 5.5 5.5z" />
    </svg>
  );
}
