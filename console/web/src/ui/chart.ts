import uPlot from "uplot";
import type { Theme } from "./theme.ts";

/** One line of a chart; `color` names a color of the style sheet. */
export interface Line {
  readonly color: string;
  /** Opacity of the area under the line, 0 for none. */
  readonly fill: number;
  readonly width?: number;
}

/** A stretch of time to tint, in seconds; `color` names a color of the style sheet. */
export interface Band {
  readonly from: number;
  readonly to: number;
  readonly color: string;
}

/** What a chart looks like. */
export interface ChartSpec {
  readonly lines: readonly Line[];
  /** Lower and upper end of the value axis from the smallest and largest value shown. */
  readonly range: (low: number, high: number) => [number, number];
  readonly label: (value: number) => string;
  /** Charts of one group move their cursors together. */
  readonly group?: string;
  /** Called with the index under the cursor, or null when it leaves. */
  readonly hover?: (index: number | null) => void;
  readonly axes: boolean;
}

/** A uPlot time chart that follows the theme and the size of its host element. */
export class Chart {
  readonly #host: HTMLElement;
  readonly #spec: ChartSpec;
  readonly #theme: Theme;
  readonly #observer: ResizeObserver;
  #plot: uPlot | null = null;
  #data: uPlot.AlignedData;
  #window: [number, number] = [0, 1];
  #bands: readonly Band[] = [];

  constructor(host: HTMLElement, spec: ChartSpec, theme: Theme) {
    this.#host = host;
    this.#spec = spec;
    this.#theme = theme;
    this.#data = [[], ...spec.lines.map(() => [])];
    this.#observer = new ResizeObserver(() => this.#fit());
    this.#observer.observe(host);
  }

  /** Shows data in the window of time (seconds) with bands behind it. */
  show(data: uPlot.AlignedData, window: [number, number], bands: readonly Band[]): void {
    this.#data = data;
    this.#window = window;
    this.#bands = bands;
    if (!this.#plot) this.#fit();
    this.#plot?.batch(() => {
      this.#plot?.setData(data, false);
      this.#plot?.setScale("x", { min: window[0], max: window[1] });
    });
  }

  /** Draws again in the theme's current colors. */
  recolor(): void {
    this.#plot?.destroy();
    this.#plot = null;
    this.#fit();
  }

  /** Frees the chart. */
  destroy(): void {
    this.#observer.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
  }

  #fit(): void {
    const width = this.#host.clientWidth;
    const height = this.#host.clientHeight;
    if (width === 0 || height === 0) return;
    if (this.#plot) {
      if (this.#plot.width !== width || this.#plot.height !== height) this.#plot.setSize({ width, height });
      return;
    }
    this.#plot = new uPlot(this.#options(width, height), this.#data, this.#host);
    this.#plot.setScale("x", { min: this.#window[0], max: this.#window[1] });
  }

  #options(width: number, height: number): uPlot.Options {
    const spec = this.#spec;
    return {
      width,
      height,
      padding: spec.axes ? [6, 2, 0, 0] : [3, 0, 3, 0],
      legend: { show: false },
      scales: {
        x: { time: true, auto: false },
        y: { range: (_plot, low, high) => spec.range(low ?? 0, high ?? 0) },
      },
      axes: this.#axes(),
      series: [{}, ...spec.lines.map((line) => this.#series(line))],
      cursor: {
        show: spec.hover !== undefined,
        y: false,
        points: { size: 6 },
        drag: { x: false, y: false },
        ...(spec.group === undefined ? {} : { sync: { key: spec.group, setSeries: false } }),
      },
      hooks: {
        drawClear: [(plot) => this.#drawBands(plot)],
        setCursor: [(plot) => spec.hover?.(plot.cursor.idx ?? null)],
      },
    };
  }

  #series(line: Line): uPlot.Series {
    const color = this.#theme.color(line.color);
    return {
      stroke: color,
      width: line.width ?? 1.5,
      points: { show: false },
      spanGaps: false,
      ...(line.fill > 0 ? { fill: translucent(color, line.fill) } : {}),
    };
  }

  #axes(): uPlot.Axis[] {
    if (!this.#spec.axes) return [{ show: false }, { show: false }];
    const common = {
      stroke: this.#theme.color("dim"),
      font: "11px ui-sans-serif, system-ui, sans-serif",
      ticks: { show: false },
      grid: { stroke: this.#theme.color("grid"), width: 1 },
    };
    return [
      { ...common, space: 64, size: 20, gap: 3, values: (plot, times, _axis, _space, step) => times.map((t) => timeLabel(plot, t, step)) },
      { ...common, space: 26, size: axisWidth, gap: 5, values: (_plot, values) => values.map((v) => this.#spec.label(v)) },
    ];
  }

  #drawBands(plot: uPlot): void {
    const { left, top, width, height } = plot.bbox;
    for (const band of this.#bands) {
      const from = Math.max(left, plot.valToPos(band.from, "x", true));
      const to = Math.min(left + width, plot.valToPos(band.to, "x", true));
      if (!(to > from)) continue;
      plot.ctx.fillStyle = translucent(this.#theme.color(band.color), 0.16);
      plot.ctx.fillRect(from, top, Math.max(to - from, 2), height);
    }
  }
}

/** Room for the longest label of the value axis. */
function axisWidth(_plot: uPlot, labels: string[] | null): number {
  return 12 + 6.2 * Math.max(2, ...(labels ?? []).map((label) => label.length));
}

/** A time of day, with seconds where the labels are less than a minute apart; nothing where an edge would cut it. */
function timeLabel(plot: uPlot, unixSeconds: number, step: number): string {
  const x = plot.valToPos(unixSeconds, "x");
  const room = step < 60 ? 26 : 16;
  if (x < room || x > plot.over.clientWidth - room) return "";
  const time = new Date(unixSeconds * 1000).toLocaleTimeString("en-GB");
  return step < 60 ? time : time.slice(0, 5);
}

/** A #rrggbb color with an opacity. */
function translucent(color: string, opacity: number): string {
  const alpha = Math.round(opacity * 255).toString(16).padStart(2, "0");
  return `${color}${alpha}`;
}
