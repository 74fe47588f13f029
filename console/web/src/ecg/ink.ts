import { quality, type Timeline } from "./timeline.ts";

/** Colors of the trace. */
export interface InkColors {
  readonly trace: string;
  readonly recovered: string;
  readonly lost: string;
}

/** Where samples lie on the screen, in CSS pixels. */
export interface Geometry {
  readonly width: number;
  readonly height: number;
  /** Seconds from the left edge to the right. */
  readonly seconds: number;
  /** Millivolts at the lower and upper edge. */
  readonly low: number;
  readonly high: number;
}

/** How far ahead of the sweep the old trace is wiped. */
export const eraseSeconds = 0.35;

const dash = [3, 5];
const dashLength = 8;

/** Position at the left edge of the sweep that a position lies in. */
export function turnOf(position: number, geometry: Geometry, fs: number): number {
  const window = geometry.seconds * fs;
  return Math.floor(position / window) * window;
}

/** Horizontal place of a position in the sweep that starts at `turn`. */
export function xOf(position: number, turn: number, geometry: Geometry, fs: number): number {
  return ((position - turn) / fs / geometry.seconds) * geometry.width;
}

/** Vertical place of a value. */
export function yOf(mv: number, geometry: Geometry): number {
  return geometry.height * (1 - (mv - geometry.low) / (geometry.high - geometry.low));
}

/**
 * The drawn trace on a canvas of its own. Each frame adds what the sweep has passed and wipes what it is
 * about to pass; only a change behind the sweep (a hole filled late, another size or color) draws all of it.
 */
export class Ink {
  readonly canvas = document.createElement("canvas");
  #geometry: Geometry | null = null;
  #colors: InkColors;
  #drawn: number | null = null;

  constructor(colors: InkColors) {
    this.#colors = colors;
  }

  /** Takes a new geometry at `ratio` device pixels per CSS pixel. */
  reshape(geometry: Geometry, ratio: number): void {
    this.#geometry = geometry;
    this.canvas.width = Math.round(geometry.width * ratio);
    this.canvas.height = Math.round(geometry.height * ratio);
    this.canvas.getContext("2d")?.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#drawn = null;
  }

  /** Takes new colors. */
  recolor(colors: InkColors): void {
    this.#colors = colors;
    this.#drawn = null;
  }

  /** Draws up to the position `head`. */
  advance(timeline: Timeline, head: number): void {
    const context = this.canvas.getContext("2d");
    const geometry = this.#geometry;
    if (!context || !geometry) return;
    const to = Math.floor(head);
    const erase = Math.round(eraseSeconds * timeline.fs);
    const changed = timeline.takeChanged();
    if (this.#drawn === null || changed < this.#drawn || to < this.#drawn || to - this.#drawn > erase) {
      context.clearRect(0, 0, geometry.width, geometry.height);
      this.#paint(context, geometry, timeline, to - Math.round(geometry.seconds * timeline.fs) + erase, to);
    } else {
      this.#wipe(context, geometry, timeline.fs, this.#drawn + erase, to + erase);
      // One sample back, so that the pieces join.
      this.#paint(context, geometry, timeline, this.#drawn - 1, to);
    }
    this.#drawn = to;
  }

  #wipe(context: CanvasRenderingContext2D, geometry: Geometry, fs: number, from: number, to: number): void {
    for (const [start, end, turn] of turns(from, to, geometry, fs)) {
      const x = Math.floor(xOf(start, turn, geometry, fs));
      context.clearRect(x, 0, Math.ceil(xOf(end, turn, geometry, fs)) - x + 1, geometry.height);
    }
  }

  #paint(context: CanvasRenderingContext2D, geometry: Geometry, timeline: Timeline, from: number, to: number): void {
    for (const [start, end, turn] of turns(from, to, geometry, timeline.fs)) {
      this.#strokes(context, geometry, timeline, start, end, turn);
    }
  }

  /** Strokes the samples of [from, to), each in the color of how it came, holes as a dashed line. */
  #strokes(context: CanvasRenderingContext2D, g: Geometry, timeline: Timeline, from: number, to: number, turn: number): void {
    const live = new Path2D();
    const recovered = new Path2D();
    let before: number = quality.missing;
    let hole: number | null = null;
    for (let p = from; p < to; p++) {
      const now = timeline.qualityAt(p);
      const x = xOf(p, turn, g, timeline.fs);
      if (now === quality.missing) {
        if (p >= timeline.start) hole ??= x;
      } else {
        if (hole !== null) this.#hole(context, g, hole, x);
        hole = null;
        const y = yOf(timeline.valueAt(p), g);
        const path = now === quality.recovered ? recovered : live;
        if (before === quality.missing) path.moveTo(x, y);
        else path.lineTo(x, y);
        const next = p + 1 < to ? timeline.qualityAt(p + 1) : now;
        // Where the color changes, the next path starts at this sample, so that the trace has no notch.
        if (next !== now && next !== quality.missing) (now === quality.recovered ? live : recovered).moveTo(x, y);
      }
      before = now;
    }
    if (hole !== null) this.#hole(context, g, hole, xOf(to, turn, g, timeline.fs));
    context.lineJoin = "round";
    context.lineWidth = 1.75;
    context.strokeStyle = this.#colors.trace;
    context.stroke(live);
    context.strokeStyle = this.#colors.recovered;
    context.stroke(recovered);
  }

  /** Draws a dashed line whose dashes lie the same whatever pieces it is drawn in. */
  #hole(context: CanvasRenderingContext2D, geometry: Geometry, from: number, to: number): void {
    const y = Math.round(yOf(0, geometry)) + 0.5;
    context.strokeStyle = this.#colors.lost;
    context.lineWidth = 1;
    context.setLineDash(dash);
    context.lineDashOffset = from % dashLength;
    context.beginPath();
    context.moveTo(from, y);
    context.lineTo(to, y);
    context.stroke();
    context.setLineDash([]);
  }
}

/** Cuts a stretch of positions at the edges of the screen: start, end and the turn they lie in. */
function turns(from: number, to: number, geometry: Geometry, fs: number): [number, number, number][] {
  const pieces: [number, number, number][] = [];
  const window = geometry.seconds * fs;
  let start = from;
  while (start < to) {
    const turn = turnOf(start, geometry, fs);
    const end = Math.min(to, Math.max(start + 1, Math.ceil(turn + window)));
    pieces.push([start, end, turn]);
    start = end;
  }
  return pieces;
}
