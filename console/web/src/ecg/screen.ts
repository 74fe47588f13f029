import { quality, type Timeline } from "./timeline.ts";

/** Colors of the screen, read from the page's theme. */
export interface Palette {
  readonly trace: string;
  readonly recovered: string;
  readonly lost: string;
  readonly grid: string;
  readonly gridStrong: string;
  readonly mark: string;
}

/** An R peak on the timeline, and the milliseconds since the one before. */
export interface Mark {
  readonly position: number;
  readonly rr: number;
}

const squareSeconds = 0.2;
const squareMillivolt = 0.5;
const pixelsPerSecond = 150;
const minSeconds = 2.4;
const maxSeconds = 8;
const eraseSeconds = 0.35;
const fadeSeconds = 0.6;
const glowSeconds = 0.5;
const rangeEvery = 500;

/** A stretch of millivolts that the screen shows. */
interface Range {
  readonly low: number;
  readonly high: number;
}

/**
 * A bedside monitor's sweep on two stacked canvases: the grid, drawn when the size, scale or theme changes,
 * and the trace, drawn whole on every frame from the timeline, so whatever fills a hole late shows at once.
 */
export class Screen {
  readonly #grid: HTMLCanvasElement;
  readonly #trace: HTMLCanvasElement;
  #palette: Palette;
  #width = 0;
  #height = 0;
  #seconds = 6;
  #range: Range = { low: -1, high: 1.5 };
  #rangeAt = -Infinity;
  #gridStale = true;

  constructor(grid: HTMLCanvasElement, trace: HTMLCanvasElement, palette: Palette) {
    this.#grid = grid;
    this.#trace = trace;
    this.#palette = palette;
  }

  /** Seconds from the left edge to the right. */
  get seconds(): number {
    return this.#seconds;
  }

  /** Takes a new size in CSS pixels. */
  resize(width: number, height: number, ratio: number): void {
    this.#width = width;
    this.#height = height;
    const seconds = Math.min(maxSeconds, Math.max(minSeconds, width / pixelsPerSecond));
    this.#seconds = Math.round(seconds / squareSeconds) * squareSeconds;
    for (const canvas of [this.#grid, this.#trace]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.getContext("2d")?.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.#gridStale = true;
  }

  /** Takes new colors. */
  recolor(palette: Palette): void {
    this.#palette = palette;
    this.#gridStale = true;
  }

  /** Draws the sweep, its bright end at the position `head`, and the beats on it. */
  draw(timeline: Timeline, beats: readonly Mark[], head: number, now: number): void {
    if (this.#width === 0 || this.#height === 0) return;
    this.#fitRange(timeline, head, now);
    if (this.#gridStale) this.#drawGrid();
    const context = this.#trace.getContext("2d");
    if (!context) return;
    context.clearRect(0, 0, this.#width, this.#height);
    context.lineJoin = "round";
    const window = this.#seconds * timeline.fs;
    const turn = Math.floor(head / window) * window;
    const oldest = Math.ceil(head - window + eraseSeconds * timeline.fs);
    this.#strokes(context, timeline, oldest, turn, turn - window);
    this.#strokes(context, timeline, Math.max(oldest, Math.ceil(turn)), head, turn);
    this.#marks(context, timeline, beats, oldest, head);
    this.#fade(context, (head - turn) / timeline.fs);
    this.#glow(context, timeline, head, turn);
  }

  /** Marks R peaks along the top edge, with the milliseconds since the one before. */
  #marks(context: CanvasRenderingContext2D, timeline: Timeline, beats: readonly Mark[], oldest: number, head: number): void {
    const window = this.#seconds * timeline.fs;
    context.fillStyle = this.#palette.mark;
    context.font = "11px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";
    context.textAlign = "center";
    for (const beat of beats) {
      if (beat.position < oldest || beat.position > head) continue;
      const turn = Math.floor(beat.position / window) * window;
      const x = this.#x(beat.position, turn, timeline.fs);
      context.fillRect(x - 0.5, 0, 1.5, 7);
      const middle = x - (this.#width * beat.rr) / 2000 / this.#seconds;
      if (beat.rr > 350 && beat.rr < 3000 && middle > 14) context.fillText(String(beat.rr), middle, 12);
    }
  }

  #x(position: number, turn: number, fs: number): number {
    return ((position - turn) / fs / this.#seconds) * this.#width;
  }

  #y(mv: number): number {
    return this.#height * (1 - (mv - this.#range.low) / (this.#range.high - this.#range.low));
  }

  /** Strokes the samples of [from, to), each in the color of how it came, holes as a dashed line. */
  #strokes(context: CanvasRenderingContext2D, timeline: Timeline, from: number, to: number, turn: number): void {
    const live = new Path2D();
    const recovered = new Path2D();
    const holes = new Path2D();
    const middle = this.#y(0);
    let before: number = quality.missing;
    let holeFrom: number | null = null;
    for (let p = from; p < to; p++) {
      const now = timeline.qualityAt(p);
      const x = this.#x(p, turn, timeline.fs);
      if (now === quality.missing) {
        if (p >= timeline.start && holeFrom === null) holeFrom = x;
      } else {
        if (holeFrom !== null) line(holes, holeFrom, x, middle);
        holeFrom = null;
        const y = this.#y(timeline.valueAt(p));
        const path = now === quality.recovered ? recovered : live;
        if (before === quality.missing) path.moveTo(x, y);
        else path.lineTo(x, y);
        const next = p + 1 < to ? timeline.qualityAt(p + 1) : now;
        // Where the color changes, the next path starts at this sample, so that the trace has no notch.
        if (next !== now && next !== quality.missing) (now === quality.recovered ? live : recovered).moveTo(x, y);
      }
      before = now;
    }
    if (holeFrom !== null) line(holes, holeFrom, this.#x(to, turn, timeline.fs), middle);
    this.#stroke(context, holes, this.#palette.lost, [3, 5]);
    this.#stroke(context, live, this.#palette.trace, []);
    this.#stroke(context, recovered, this.#palette.recovered, []);
  }

  #stroke(context: CanvasRenderingContext2D, path: Path2D, color: string, dash: number[]): void {
    context.strokeStyle = color;
    context.lineWidth = dash.length > 0 ? 1.25 : 1.75;
    context.setLineDash(dash);
    context.stroke(path);
    context.setLineDash([]);
  }

  /** Dims what the sweep is about to overwrite. */
  #fade(context: CanvasRenderingContext2D, headSeconds: number): void {
    const perSecond = this.#width / this.#seconds;
    const from = (headSeconds + eraseSeconds) * perSecond;
    const to = from + fadeSeconds * perSecond;
    for (const shift of [0, -this.#width]) {
      const gradient = context.createLinearGradient(from + shift, 0, to + shift, 0);
      gradient.addColorStop(0, "rgba(0,0,0,1)");
      gradient.addColorStop(1, "rgba(0,0,0,0)");
      context.globalCompositeOperation = "destination-out";
      context.fillStyle = gradient;
      context.fillRect(from + shift, 0, to - from, this.#height);
      context.globalCompositeOperation = "source-over";
    }
  }

  /** Brightens the newest half second and puts a dot at its end. */
  #glow(context: CanvasRenderingContext2D, timeline: Timeline, head: number, turn: number): void {
    const path = new Path2D();
    let last: { x: number; y: number } | null = null;
    for (let p = Math.ceil(Math.max(turn, head - glowSeconds * timeline.fs)); p < head; p++) {
      if (timeline.qualityAt(p) === quality.missing) {
        last = null;
        continue;
      }
      const point = { x: this.#x(p, turn, timeline.fs), y: this.#y(timeline.valueAt(p)) };
      if (last) path.lineTo(point.x, point.y);
      else path.moveTo(point.x, point.y);
      last = point;
    }
    context.strokeStyle = this.#palette.trace;
    context.globalAlpha = 0.22;
    context.lineWidth = 6;
    context.stroke(path);
    context.globalAlpha = 1;
    if (!last) return;
    context.fillStyle = this.#palette.trace;
    context.beginPath();
    context.arc(last.x, last.y, 3, 0, 2 * Math.PI);
    context.fill();
  }

  /** Widens the range at once when the trace leaves it, and narrows it when a whole sweep needs less. */
  #fitRange(timeline: Timeline, head: number, now: number): void {
    if (now - this.#rangeAt < rangeEvery) return;
    this.#rangeAt = now;
    let low = Infinity;
    let high = -Infinity;
    for (let p = Math.ceil(head - this.#seconds * timeline.fs); p < head; p++) {
      if (timeline.qualityAt(p) === quality.missing) continue;
      const value = timeline.valueAt(p);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (low > high) return;
    const margin = Math.max(0.15, (high - low) * 0.08);
    const range = {
      low: Math.floor((low - margin) / squareMillivolt) * squareMillivolt,
      high: Math.ceil((high + margin) / squareMillivolt) * squareMillivolt,
    };
    if (range.low === this.#range.low && range.high === this.#range.high) return;
    this.#range = range;
    this.#gridStale = true;
  }

  #drawGrid(): void {
    const context = this.#grid.getContext("2d");
    if (!context) return;
    this.#gridStale = false;
    context.clearRect(0, 0, this.#width, this.#height);
    context.lineWidth = 1;
    const columns = Math.round(this.#seconds / squareSeconds);
    for (let i = 1; i < columns; i++) {
      const x = Math.round((i / columns) * this.#width) + 0.5;
      this.#gridLine(context, i % 5 === 0, x, 0, x, this.#height);
    }
    const first = Math.round(this.#range.low / squareMillivolt);
    const last = Math.round(this.#range.high / squareMillivolt);
    for (let i = first + 1; i < last; i++) {
      const y = Math.round(this.#y(i * squareMillivolt)) + 0.5;
      this.#gridLine(context, i === 0, 0, y, this.#width, y);
    }
  }

  #gridLine(context: CanvasRenderingContext2D, strong: boolean, x0: number, y0: number, x1: number, y1: number): void {
    context.strokeStyle = strong ? this.#palette.gridStrong : this.#palette.grid;
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  }
}

function line(path: Path2D, from: number, to: number, y: number): void {
  path.moveTo(from, y);
  path.lineTo(to, y);
}
