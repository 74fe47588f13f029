import assert from "node:assert/strict";
import { test } from "node:test";
import { Playhead } from "../src/ecg/playhead.ts";

const fs = 360;

/** Plays `seconds` of batches that arrive late by `late(k)` milliseconds and returns the position per frame. */
function play(seconds: number, late: (k: number) => number): { now: number; position: number }[] {
  const head = new Playhead(0.2);
  const frames: { now: number; position: number }[] = [];
  let k = 0;
  for (let now = 0; now < seconds * 1000; now += 16) {
    while ((k + 1) * 100 + late(k) <= now) head.arrived(++k * 36, fs, now);
    const position = head.at(now);
    if (position !== null) frames.push({ now, position });
  }
  return frames;
}

test("nothing is drawn before anything arrived", () => {
  assert.equal(new Playhead(0.2).at(1000), null);
});

test("it moves at the sampling rate, a fifth of a second behind", () => {
  const frames = play(10, () => 0);
  const [first, last] = [frames[100], frames.at(-1)];
  assert.ok(first && last);
  const rate = (last.position - first.position) / ((last.now - first.now) / 1000);
  assert.ok(Math.abs(rate - fs) < 1, `rate ${rate}`);
  const behind = (last.now * fs) / 1000 - last.position;
  assert.ok(Math.abs(behind - 0.2 * fs) < 8, `behind by ${behind} samples`);
});

test("late batches do not move it", () => {
  const frames = play(10, (k) => (k % 7 === 3 ? 90 : 0));
  for (let i = 100; i < frames.length; i++) {
    const step = (frames[i]?.position ?? 0) - (frames[i - 1]?.position ?? 0);
    assert.ok(Math.abs(step - 5.76) < 0.1, `frame ${i} moved ${step} samples`);
  }
});

test("it never runs back, and overtakes no batch that arrives in time", () => {
  const frames = play(20, (k) => (k * 37) % 90);
  for (let i = 1; i < frames.length; i++) {
    const [before, frame] = [frames[i - 1], frames[i]];
    assert.ok(before && frame && frame.position > before.position);
  }
});

test("a hole in the arrivals makes it jump to the new time, not run after it", () => {
  const head = new Playhead(0.2);
  for (let k = 1; k <= 10; k++) head.arrived(k * 36, fs, k * 100);
  const before = head.at(1000) ?? 0;
  const after = head.at(6000) ?? 0;
  assert.ok(Math.abs(after - before - 5 * fs) < 2, `moved ${after - before}`);
});
