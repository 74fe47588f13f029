import { eraseSeconds, Ink, turnOf, xOf, yOf, type Geometry, type InkColors } from "./ink.ts";
import { quality, type Timeline } from "./timeline.ts";

/** Colors of the screen, read from the page's theme. */
export interface Palette extends InkColors {
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
const fadeSeconds = 0.6;
const glowSeconds = 0.5;
const rangeEvery = 200;
const markFont = "11px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace";

/**
 * A bedside monitor's sweep on two stacked canvases: behind, the grid and the R peaks, drawn when they
 * change; in front, on every frame, the ink with a bright end and a fading tail.
 */
export class Screen {
  readonly #back: HTMLCanvasElement;
  readonly #front: HTMLCanvasElement;
  readonly #ink: Ink;
  #palette: Palette;
  #ratio = 1;
  #geometry: Geometry = { width: 0, height: 0, seconds: 6, low: -1, high: 1.5 };
  #fitted = -Infinity;
  #backDrawn = "";

  constructor(back: HTMLCanvasElement, front: HTMLCanvasElement, palette: Palette) {
    this.#back = back;
    this.#front = front;
    this.#palette = palette;
    this.#ink = new Ink(palette);
  }

  /** Seconds from the left edge to the right. */
  get seconds(): number {
    return this.#geometry.seconds;
  }

  /** Takes a new size in CSS pixels. */
  resize(width: number, height: number, ratio: number): void {
    const seconds = Math.min(maxSeconds, Math.max(minSeconds, width / pixelsPerSecond));
    this.#ratio = ratio;
    for (const canvas of [this.#back, this.#front]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.getContext("2d")?.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.#reshape({ ...this.#geometry, width, height, seconds: Math.round(seconds / squareSeconds) * squareSeconds });
  }

  /** Takes new colors. */
  recolor(palette: Palette): void {
    this.#palette = palette;
    this.#ink.recolor(palette);
    this.#backDrawn = "";
  }

  /** Draws the sweep, its bright end at the position `head`, and the beats on it. */
  draw(timeline: Timeline, beats: readonly Mark[], head: number, now: number): void {
    const { width, height, seconds } = this.#geometry;
    const context = this.#front.getContext("2d");
    if (!context || width === 0 || height === 0) return;
    this.#fitRange(timeline, head, now);
    const oldest = head - (seconds - eraseSeconds) * timeline.fs;
    this.#drawBack(beats.filter((beat) => beat.position <= head && beat.position >= oldest), timeline.fs);
    this.#ink.advance(timeline, head);
    context.clearRect(0, 0, width, height);
    context.drawImage(this.#ink.canvas, 0, 0, width, height);
    this.#fade(context, head, timeline.fs);
    this.#glow(context, timeline, head);
  }

  /** Draws the empty grid, for when nothing has arrived yet. */
  rest(): void {
    if (this.#geometry.width > 0) this.#drawBack([], 1);
  }

  #reshape(geometry: Geometry): void {
    this.#geometry = geometry;
    this.#ink.reshape(geometry, this.#ratio);
    this.#backDrawn = "";
  }

  /** Dims what the sweep is about to wipe. */
  #fade(context: CanvasRenderingContext2D, head: number, fs: number): void {
    const g = this.#geometry;
    const from = xOf(head + eraseSeconds * fs, turnOf(head, g, fs), g, fs);
    const length = (fadeSeconds / g.seconds) * g.width;
    context.globalCompositeOperation = "destination-out";
    for (const x of [from, from - g.width]) {
      if (x > g.width || x + length < 0) continue;
      const gradient = context.createLinearGradient(x, 0, x + length, 0);
      gradient.addColorStop(0, "rgba(0,0,0,1)");
      gradient.addColorStop(1, "rgba(0,0,0,0)");
      context.fillStyle = gradient;
      // A few pixels more than the gradient: what the wipe leaves of a sample at its edge goes too.
      context.fillRect(x - 4, 0, length + 4, g.height);
    }
    context.globalCompositeOperation = "source-over";
  }

  /** Brightens the newest half second and puts a dot at its end. */
  #glow(context: CanvasRenderingContext2D, timeline: Timeline, head: number): void {
    const g = this.#geometry;
    const turn = turnOf(head, g, timeline.fs);
    const path = new Path2D();
    let last: { x: number; y: number } | null = null;
    for (let p = Math.ceil(Math.max(turn, head - glowSeconds * timeline.fs)); p < head; p++) {
      if (timeline.qualityAt(p) === quality.missing) {
        last = null;
        continue;
      }
      const point = { x: xOf(p, turn, g, timeline.fs), y: yOf(timeline.valueAt(p), g) };
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

  /** Fits the millivolts shown to a whole sweep, in steps of a square, so that it seldom changes. */
  #fitRange(timeline: Timeline, head: number, now: number): void {
    if (now - this.#fitted < rangeEvery) return;
    this.#fitted = now;
    let low = Infinity;
    let high = -Infinity;
    for (let p = Math.ceil(head - this.seconds * timeline.fs); p < head; p++) {
      if (timeline.qualityAt(p) === quality.missing) continue;
      const value = timeline.valueAt(p);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (low > high) return;
    const margin = Math.max(0.15, (high - low) * 0.08);
    low = Math.floor((low - margin) / squareMillivolt) * squareMillivolt;
    high = Math.ceil((high + margin) / squareMillivolt) * squareMillivolt;
    if (low !== this.#geometry.low || high !== this.#geometry.high) this.#reshape({ ...this.#geometry, low, high });
  }

  #drawBack(beats: readonly Mark[], fs: number): void {
    const drawn = beats.map((beat) => Math.round(beat.position)).join();
    const context = this.#back.getContext("2d");
    if (!context || (this.#backDrawn !== "" && this.#backDrawn === `beats ${drawn}`)) return;
    this.#backDrawn = `beats ${drawn}`;
    context.clearRect(0, 0, this.#geometry.width, this.#geometry.height);
    this.#drawGrid(context);
    this.#drawMarks(context, beats, fs);
  }

  #drawGrid(context: CanvasRenderingContext2D): void {
    const g = this.#geometry;
    context.lineWidth = 1;
    const columns = Math.round(g.seconds / squareSeconds);
    for (let i = 1; i < columns; i++) {
      const x = Math.round((i / columns) * g.width) + 0.5;
      this.#gridLine(context, i % 5 === 0, x, 0, x, g.height);
    }
    const last = Math.round(g.high / squareMillivolt);
    for (let i = Math.round(g.low / squareMillivolt) + 1; i < last; i++) {
      const y = Math.round(yOf(i * squareMillivolt, g)) + 0.5;
      this.#gridLine(context, i === 0, 0, y, g.width, y);
    }
  }

  #gridLine(context: CanvasRenderingContext2D, strong: boolean, x0: number, y0: number, x1: number, y1: number): void {
    context.strokeStyle = strong ? this.#palette.gridStrong : this.#palette.grid;
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  }

  /** Marks R peaks along the top edge, with the milliseconds since the one before. */
  #drawMarks(context: CanvasRenderingContext2D, beats: readonly Mark[], fs: number): void {
    const g = this.#geometry;
    context.fillStyle = this.#palette.mark;
    context.font = markFont;
    context.textAlign = "center";
    for (const beat of beats) {
      const x = xOf(beat.position, turnOf(beat.position, g, fs), g, fs);
      context.fillRect(x - 0.5, 0, 1.5, 7);
      const middle = x - (g.width * beat.rr) / 2000 / g.seconds;
      if (beat.rr > 350 && beat.rr < 3000 && middle > 14) context.fillText(String(beat.rr), middle, 12);
    }
  }
}
