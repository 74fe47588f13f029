import { useEffect, useRef } from "preact/hooks";
import { effect } from "@preact/signals";
import { Chart, type ChartSpec } from "../ui/chart.ts";
import type { Theme } from "../ui/theme.ts";
import type { Heart } from "./heart.ts";

const windowMs = 300_000;
const shortestMs = 30_000;
const gapMs = 5000;

const spec: ChartSpec = {
  lines: [{ color: "green", fill: 0.08, width: 1 }],
  range: (low, high) => [Math.max(0, Math.floor((low - 5) / 10) * 10), Math.ceil((high + 5) / 10) * 10],
  label: String,
  axes: false,
};

interface TrendProps {
  readonly heart: Heart;
  readonly theme: Theme;
  readonly channel: string;
}

/** The heart rate of the last five minutes, beat by beat. */
export function Trend({ heart, theme, channel }: TrendProps) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!host.current) return;
    const chart = new Chart(host.current, spec, theme);
    const stops = [
      effect(() => {
        const [times, rates] = columns(heart);
        const end = times.at(-1) ?? Date.now() / 1000;
        const length = Math.min(windowMs, Math.max(shortestMs, (end - (times[0] ?? end)) * 1000));
        chart.show([times, rates], [end - length / 1000, end], []);
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
  }, [heart, theme]);
  const last = heart.beat.value?.t ?? 0;
  const rates = heart.beats.value.filter((beat) => last - beat.t < windowMs).map((beat) => beat.bpm);
  const range = rates.length > 1 ? `${Math.round(Math.min(...rates))} to ${Math.round(Math.max(...rates))}` : "";
  return (
    <div class="vital trend">
      <h3>
        Trend <span class="unit">{range}</span>
      </h3>
      <div class="plot" ref={host} role="img" aria-label={`Heart rate of the last five minutes from ${channel}`} />
    </div>
  );
}

/** Times in seconds and rates, with a break where beats are missing. */
function columns(heart: Heart): [number[], (number | null)[]] {
  const times: number[] = [];
  const rates: (number | null)[] = [];
  let before = 0;
  for (const beat of heart.beats.value) {
    if (before > 0 && beat.t - before > gapMs) {
      times.push((before + 1) / 1000);
      rates.push(null);
    }
    times.push(beat.t / 1000);
    rates.push(beat.bpm);
    before = beat.t;
  }
  return [times, rates];
}
