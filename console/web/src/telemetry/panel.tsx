import { effect, useComputed, useSignal, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Outage } from "../link/ledger.ts";
import type { Link } from "../link/link.ts";
import { Chart, type Band } from "../ui/chart.ts";
import { demoHint, FeedNote } from "../ui/feed-note.tsx";
import { clock } from "../ui/format.ts";
import { Panel } from "../ui/panel.tsx";
import type { Theme } from "../ui/theme.ts";
import { gauges, type Gauge } from "./gauges.ts";
import { telemetryChannel, type Host } from "./host.ts";
import { columns, shownWindow, type Reading } from "./series.ts";

interface TelemetryProps {
  readonly link: Link;
  readonly host: Host;
  readonly theme: Theme;
  /** Ticks once a second, with the time in Unix milliseconds. */
  readonly now: Signal<number>;
}

/** The machine that the server runs on, five minutes of it. */
export function TelemetryPanel({ link, host, theme, now }: TelemetryProps) {
  const hovered = useSignal<number | null>(null);
  const empty = useComputed(() => host.readings.value.length === 0);
  const readings = host.readings.value;
  const pinned = hovered.value === null ? undefined : readings.find((r) => r.t === hovered.value);
  const caption = (
    <>
      up to 5 minutes of <code>{telemetryChannel}</code>
      {pinned && <b class="at"> at {clock(pinned.t)}</b>}
    </>
  );
  return (
    <Panel id="telemetry" title="This machine" caption={caption}>
      <FeedNote feed={link.feed(telemetryChannel)} empty={empty.value} hint={demoHint} />
      <div class="gauges" data-testid="telemetry" data-readings={readings.length}>
        {gauges.map((gauge) => (
          <GaugeChart
            key={gauge.id}
            gauge={gauge}
            reading={pinned ?? readings.at(-1) ?? null}
            link={link}
            host={host}
            theme={theme}
            now={now}
            hovered={hovered}
          />
        ))}
      </div>
    </Panel>
  );
}

interface GaugeProps extends TelemetryProps {
  readonly gauge: Gauge;
  readonly reading: Reading | null;
  readonly hovered: Signal<number | null>;
}

function GaugeChart({ gauge, reading, link, host, theme, now, hovered }: GaugeProps) {
  const plot = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!plot.current) return;
    const times: { current: number[] } = { current: [] };
    const spec = {
      lines: gauge.values.map(({ color }, i) => ({ color, fill: i === 0 ? gauge.fill : 0 })),
      range: gauge.range,
      label: gauge.label,
      axes: true,
      group: "machine",
      hover: (index: number | null) => {
        const seconds = index === null ? undefined : times.current[index];
        hovered.value = seconds === undefined ? null : Math.round(seconds * 1000);
      },
    };
    const chart = new Chart(plot.current, spec, theme);
    const stops = [
      effect(() => {
        const readings = host.readings.value;
        const data = columns(readings, gauge.values.map((value) => value.of));
        times.current = data[0];
        const window = shownWindow(readings[0]?.t, now.value + host.ahead.value);
        chart.show(data, window, bands(link.outages.value, host.ahead.value, now.value));
      }),
      effect(() => {
        theme.current.value;
        chart.recolor();
      }),
    ];
    return () => {
      stops.forEach((stop) => stop());
      chart.destroy();
    };
  }, [gauge, link, host, theme, now, hovered]);
  return (
    <figure class="gauge" data-testid={`telemetry-${gauge.id}`}>
      <figcaption>
        <h3>{gauge.title}</h3>
        <p class="figures">
          {gauge.values.map((value) => (
            <span key={value.name} class="figure">
              {gauge.values.length > 1 && <i class={`key ${value.color}`}>{value.name}</i>}
              <b>{reading ? value.show(reading) : "--"}</b>
            </span>
          ))}
          {reading && gauge.note(reading) !== "" && <span class="unit">{gauge.note(reading)}</span>}
        </p>
      </figcaption>
      <div class="plot" ref={plot} />
    </figure>
  );
}

/** Outages as tinted stretches: amber where the channel was recovered or still waits, red where it was not. */
function bands(outages: readonly Outage[], ahead: number, now: number): Band[] {
  return outages.flatMap((outage) => {
    const fate = outage.fates.find((f) => f.channel === telemetryChannel);
    if (!fate) return [];
    const color = fate.outcome === "recovered" || fate.outcome === "waiting" ? "amber" : "red";
    return [{ from: (outage.from + ahead) / 1000, to: ((outage.to ?? now) + ahead) / 1000, color }];
  });
}
