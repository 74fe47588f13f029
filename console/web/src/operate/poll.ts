import { signal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Api } from "./api.ts";
import { problem } from "./api.ts";

/** The newest answer to a question that is asked again and again, and why there is none. */
export interface Polled<T> {
  readonly answer: ReadonlySignal<T | null>;
  readonly error: ReadonlySignal<string>;
}

/** Asks while the page is visible, every so many milliseconds. The question must be the same object to go on. */
export function usePoll<T>(api: Api, method: string, request: object, everyMs: number): Polled<T> {
  const text = JSON.stringify(request);
  const state = useMemo(() => ({ answer: signal<T | null>(null), error: signal("") }), [method, text]);
  useEffect(() => {
    const over = new AbortController();
    const ask = async () => {
      if (document.hidden) return;
      try {
        state.answer.value = await api.call<T>(method, JSON.parse(text) as object, over.signal);
        state.error.value = "";
      } catch (error) {
        if (!over.signal.aborted) state.error.value = problem(error);
      }
    };
    void ask();
    const timer = window.setInterval(() => void ask(), everyMs);
    const stop = api.key.subscribe(() => void ask());
    return () => {
      over.abort();
      clearInterval(timer);
      stop();
    };
  }, [method, text, everyMs]);
  return state;
}
