import { effect } from "@preact/signals";
import type { Theme } from "../ui/theme.ts";
import type { Beat, Heart } from "./heart.ts";
import { Screen, type Mark, type Palette } from "./screen.ts";

const flash: Keyframe[] = [
  { transform: "scale(1.5)", opacity: 1 },
  { transform: "scale(1)", opacity: 0.35 },
];

/** Drives a screen frame by frame from the heart, and flashes the pulse when the sweep passes a beat. */
export class Monitor {
  readonly #heart: Heart;
  readonly #screen: Screen;
  readonly #observer: ResizeObserver;
  readonly #stopTheme: () => void;
  readonly #still = window.matchMedia("(prefers-reduced-motion: reduce)");
  #frame = 0;
  #flashed = 0;

  constructor(host: HTMLElement, grid: HTMLCanvasElement, trace: HTMLCanvasElement, heart: Heart, theme: Theme) {
    this.#heart = heart;
    this.#screen = new Screen(grid, trace, palette(theme));
    this.#observer = new ResizeObserver(() =>
      this.#screen.resize(host.clientWidth, host.clientHeight, Math.min(2, window.devicePixelRatio)),
    );
    this.#observer.observe(host);
    this.#stopTheme = effect(() => {
      theme.current.value;
      this.#screen.recolor(palette(theme));
    });
    this.#frame = requestAnimationFrame((now) => this.#tick(now));
  }

  /** Stops drawing. */
  stop(): void {
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
    this.#stopTheme();
  }

  #tick(now: number): void {
    this.#frame = requestAnimationFrame((next) => this.#tick(next));
    const head = this.#heart.playhead.at(now);
    if (head === null) this.#screen.rest();
    else this.#screen.draw(this.#heart.timeline, this.#marks(head), head, now);
  }

  /** The beats near the sweep; a beat that the sweep has just reached makes the pulse flash. */
  #marks(head: number): Mark[] {
    const { timeline, beats } = this.#heart;
    const marks: Mark[] = [];
    const window = this.#screen.seconds * timeline.fs;
    const all: readonly Beat[] = beats.peek();
    for (let i = all.length - 1; i >= 0; i--) {
      const beat = all[i];
      const position = beat ? timeline.positionOf(beat.t) : null;
      if (!beat || position === null || position < head - window) break;
      marks.push({ position, rr: Math.round(beat.rr) });
      if (position <= head && beat.t > this.#flashed) {
        this.#flashed = beat.t;
        this.#pulse();
      }
    }
    return marks;
  }

  #pulse(): void {
    if (this.#still.matches) return;
    for (const element of document.querySelectorAll("[data-pulse]")) {
      element.animate(flash, { duration: 420, easing: "ease-out" });
    }
  }
}

function palette(theme: Theme): Palette {
  return {
    trace: theme.color("green"),
    recovered: theme.color("amber"),
    lost: theme.color("red"),
    grid: theme.color("screen-grid"),
    gridStrong: theme.color("screen-grid-strong"),
    mark: theme.color("dim"),
  };
}
