import { signal } from "@preact/signals";

/** A refusal of the HTTP API, with its code. */
export class Refusal extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

const unauthorized = 101;
const stored = "myelin-api-key";

/** The HTTP API of the server, for whoever has its key. */
export class Api {
  /** The key in use; it is kept for as long as the tab is open. */
  readonly key = signal(sessionStorage.getItem(stored) ?? "");
  /** Whether the last call was refused for want of a key. */
  readonly locked = signal(false);

  /** Uses another key from now on. */
  unlock(key: string): void {
    sessionStorage.setItem(stored, key);
    this.key.value = key;
    this.locked.value = false;
  }

  /** Calls a method and returns its result; a refusal is thrown. */
  async call<T>(method: string, request: object = {}, signal?: AbortSignal): Promise<T> {
    const headers: Record<string, string> = { "Content-Type": "application/json" };
    if (this.key.peek() !== "") headers["X-API-Key"] = this.key.peek();
    const response = await fetch(new URL(`api/${method}`, document.baseURI), {
      method: "POST",
      headers,
      body: JSON.stringify(request),
      signal: signal ?? null,
    });
    const answer = (await response.json()) as { result?: T; error?: { code: number; message: string } };
    if (answer.error) {
      this.locked.value = answer.error.code === unauthorized || response.status === 401;
      throw new Refusal(answer.error.code, answer.error.message);
    }
    this.locked.value = false;
    return answer.result as T;
  }
}

/** What to show of something that went wrong. */
export function problem(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
