import { effect, signal } from "@preact/signals";

/** What the user chose: the system's colors, or one of the two. */
export type Choice = "system" | "dark" | "light";

const choices: readonly Choice[] = ["system", "dark", "light"];
const key = "myelin.theme";

/** The page's colors: the choice, kept over visits, and `current`, which is what it comes to. */
export class Theme {
  readonly choice = signal<Choice>(stored());
  /** Changes after the page has taken the new colors. */
  readonly current = signal<"dark" | "light">("dark");
  readonly #system = window.matchMedia("(prefers-color-scheme: light)");

  constructor() {
    this.#system.addEventListener("change", () => this.#apply(this.choice.peek()));
    effect(() => this.#apply(this.choice.value));
  }

  /** Goes to the next choice. */
  next(): void {
    const next = choices[(choices.indexOf(this.choice.peek()) + 1) % choices.length] ?? "system";
    this.choice.value = next;
    remember(next);
  }

  /** The value of a color variable of the style sheet. */
  color(name: string): string {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  #apply(choice: Choice): void {
    const theme = choice === "system" ? (this.#system.matches ? "light" : "dark") : choice;
    document.documentElement.dataset["theme"] = theme;
    this.current.value = theme;
  }
}

function stored(): Choice {
  try {
    return choices.find((choice) => choice === localStorage.getItem(key)) ?? "system";
  } catch {
    return "system";
  }
}

/** Storage may be denied to the page; then the choice lasts for this visit. */
function remember(choice: Choice): void {
  try {
    localStorage.setItem(key, choice);
  } catch {
    return;
  }
}
