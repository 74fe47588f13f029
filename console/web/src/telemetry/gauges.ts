import type { ChartSpec } from "../ui/chart.ts";
import { bytes, roundBytes } from "../ui/format.ts";
import type { Reading } from "./series.ts";

/** One value of a gauge: a line on its chart and a figure beside its title. */
export interface Value {
  readonly name: string;
  readonly color: string;
  readonly of: (reading: Reading) => number;
  readonly show: (reading: Reading) => string;
}

/** One chart of the machine. */
export interface Gauge {
  readonly id: string;
  readonly title: string;
  readonly values: readonly Value[];
  /** Said after the figures, in the reading's own terms. */
  readonly note: (reading: Reading) => string;
  readonly range: ChartSpec["range"];
  readonly label: (value: number) => string;
  readonly fill: number;
}

const loadNames = ["1m", "5m", "15m"] as const;
const loadColors = ["orange", "dim", "faint"] as const;

/** The charts of the machine, in the order of the page. */
export const gauges: readonly Gauge[] = [
  {
    id: "cpu",
    title: "CPU",
    values: [{ name: "busy", color: "cyan", of: (r) => r.cpu * 100, show: (r) => `${(r.cpu * 100).toFixed(0)} %` }],
    note: () => "",
    range: () => [0, 100],
    label: (v) => `${v} %`,
    fill: 0.14,
  },
  {
    id: "memory",
    title: "Memory",
    values: [{ name: "used", color: "violet", of: (r) => r.mem.used, show: (r) => bytes(r.mem.used) }],
    note: (r) => `of ${bytes(r.mem.total)}`,
    range: (low, high) => memoryRange(low, high),
    label: roundBytes,
    fill: 0.14,
  },
  {
    id: "network",
    title: "Network",
    values: [
      { name: "in", color: "teal", of: (r) => r.net.rx, show: (r) => `${bytes(r.net.rx)}/s` },
      { name: "out", color: "orange", of: (r) => r.net.tx, show: (r) => `${bytes(r.net.tx)}/s` },
    ],
    note: () => "",
    range: (_low, high) => [0, Math.max(1000, high * 1.1)],
    label: roundBytes,
    fill: 0.1,
  },
  {
    id: "load",
    title: "Load",
    values: loadNames.map((name, i) => ({
      name,
      color: loadColors[i] ?? "dim",
      of: (r: Reading) => r.load[i] ?? 0,
      show: (r: Reading) => loadFigure(r.load[i] ?? 0),
    })),
    note: () => "",
    range: (_low, high) => [0, Math.max(1, high * 1.1)],
    label: String,
    fill: 0,
  },
];

function loadFigure(load: number): string {
  return load.toFixed(load < 10 ? 2 : 1);
}

/** Memory moves little: the axis shows a fifth more than it moved, not the whole from zero. */
function memoryRange(low: number, high: number): [number, number] {
  const margin = Math.max((high - low) * 0.2, high * 0.02, 1);
  return [Math.max(0, low - margin), high + margin];
}
