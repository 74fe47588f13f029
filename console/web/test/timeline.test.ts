import assert from "node:assert/strict";
import { test } from "node:test";
import { isBatch, quality, Timeline, type Batch } from "../src/ecg/timeline.ts";

const start = 1_795_440_000_000;

/** The k-th publication of a device that started at `t`: 36 samples whose value is their index in thousandths. */
function batch(k: number, t = start): Batch {
  const n = k * 36;
  return { t: t + k * 100, n, fs: 360, mv: Array.from({ length: 36 }, (_, i) => (n + i) / 1000) };
}

function qualities(timeline: Timeline, from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => timeline.qualityAt(from + i));
}

test("batches in order make one unbroken trace", () => {
  const timeline = new Timeline();
  for (let k = 0; k < 20; k++) assert.equal(timeline.add(batch(k), "live"), 36);
  assert.equal(timeline.end - timeline.start, 720);
  assert.ok(qualities(timeline, timeline.start, timeline.end).every((q) => q === quality.live));
  assert.ok(Math.abs(timeline.valueAt(timeline.start + 700) - 0.7) < 1e-6);
});

test("a batch that comes twice counts once", () => {
  const timeline = new Timeline();
  timeline.add(batch(0), "live");
  assert.equal(timeline.add(batch(0), "recovered"), 0);
  assert.equal(timeline.qualityAt(timeline.start), quality.live);
});

test("missed batches leave a hole of their width, and fill it when they are recovered", () => {
  const timeline = new Timeline();
  timeline.add(batch(0), "live");
  timeline.add(batch(4), "live");
  const hole = timeline.start + 36;
  assert.deepEqual(new Set(qualities(timeline, hole, hole + 108)), new Set([quality.missing]));
  for (const k of [1, 2, 3]) assert.equal(timeline.add(batch(k), "recovered"), 36);
  assert.deepEqual(new Set(qualities(timeline, hole, hole + 108)), new Set([quality.recovered]));
  assert.equal(timeline.end - timeline.start, 180);
});

test("history read after live data goes before it", () => {
  const timeline = new Timeline();
  timeline.add(batch(10), "live");
  const end = timeline.end;
  for (let k = 0; k < 10; k++) timeline.add(batch(k), "history");
  assert.equal(timeline.end, end);
  assert.equal(timeline.end - timeline.start, 396);
  assert.equal(timeline.valueAt(timeline.start), 0);
});

test("a device that restarts goes on where its clock says", () => {
  const timeline = new Timeline();
  for (let k = 0; k < 10; k++) timeline.add(batch(k), "live");
  const end = timeline.end;
  timeline.add(batch(0, start + 4000), "live");
  assert.equal(timeline.end, end + 3 * 360 + 36);
  assert.equal(timeline.qualityAt(end), quality.missing);
  assert.equal(timeline.qualityAt(end + 3 * 360), quality.live);
});

test("a device that restarts with its clock set back does not overwrite what is there", () => {
  const timeline = new Timeline();
  for (let k = 0; k < 10; k++) timeline.add(batch(k), "live");
  const end = timeline.end;
  timeline.add(batch(0, start - 3_600_000), "live");
  assert.equal(timeline.end, end + 36);
  assert.equal(timeline.qualityAt(end - 1), quality.live);
});

test("the clock may be stepped while the index goes on", () => {
  const timeline = new Timeline();
  timeline.add(batch(0), "live");
  timeline.add({ ...batch(1), t: start - 60_000 }, "live");
  assert.equal(timeline.end - timeline.start, 72);
});

test("what the ring no longer holds is missing, not stale", () => {
  const timeline = new Timeline();
  timeline.add(batch(0), "live");
  const first = timeline.start;
  timeline.add(batch(2000), "live");
  assert.equal(timeline.qualityAt(first), quality.missing);
  assert.ok(timeline.start > first);
  const hole = timeline.end - 40;
  assert.equal(timeline.qualityAt(hole), quality.missing);
});

test("it tells from where on it changed, once", () => {
  const timeline = new Timeline();
  assert.equal(timeline.takeChanged(), Infinity);
  timeline.add(batch(0), "live");
  timeline.add(batch(3), "live");
  assert.equal(timeline.takeChanged(), timeline.start);
  timeline.add(batch(2), "recovered");
  assert.equal(timeline.takeChanged(), timeline.start + 72);
  timeline.add(batch(2), "recovered");
  assert.equal(timeline.takeChanged(), Infinity);
});

test("an instant has its place", () => {
  const timeline = new Timeline();
  assert.equal(timeline.positionOf(start), null);
  timeline.add(batch(0), "live");
  timeline.add(batch(1), "live");
  assert.equal(timeline.positionOf(start), timeline.start);
  assert.equal(timeline.positionOf(start + 150), timeline.start + 54);
});

test("other data is no batch", () => {
  assert.ok(isBatch(batch(0)));
  for (const data of [null, 7, "x", {}, { t: 1, n: 0, fs: 0, mv: [1] }, { t: 1, n: 0, fs: 360, mv: [] }, { t: "1", n: 0, fs: 360, mv: [1] }]) {
    assert.ok(!isBatch(data), JSON.stringify(data));
  }
});
