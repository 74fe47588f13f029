import assert from "node:assert/strict";
import { test } from "node:test";
import { pretty, tokens } from "../src/channels/pretty.ts";
import { columns, isReading, merge, shownWindow, type Reading } from "../src/telemetry/series.ts";
import { bytes, duration, preciseClock, roundBytes, shortId } from "../src/ui/format.ts";

const reading = (t: number): Reading => ({ t, cpu: t / 1e6, mem: { used: 1, total: 2 }, load: [1, 2, 3], net: { rx: 4, tx: 5 } });

test("readings are merged by time, each once, and the old ones go", () => {
  const merged = merge([reading(1000), reading(3000)], [reading(2000), reading(3000)]);
  assert.deepEqual(merged.map((r) => r.t), [1000, 2000, 3000]);
  assert.deepEqual(merge(merged, [reading(1_000_000)]).map((r) => r.t), [1_000_000]);
});

test("missing readings leave a hole in every column", () => {
  const [times, cpu, rx] = columns([reading(1000), reading(2000), reading(6000)], [(r) => r.cpu, (r) => r.net.rx]);
  assert.deepEqual(times, [1, 2, 2.001, 6]);
  assert.deepEqual(cpu, [0.001, 0.002, null, 0.006]);
  assert.deepEqual(rx, [4, 4, null, 4]);
});

test("the window grows from one minute to five", () => {
  assert.deepEqual(shownWindow(undefined, 600_000), [540, 600]);
  assert.deepEqual(shownWindow(500_000, 600_000), [500, 600]);
  assert.deepEqual(shownWindow(0, 600_000), [300, 600]);
});

test("other data is no reading", () => {
  assert.ok(isReading(reading(1)));
  for (const data of [null, 1, {}, { ...reading(1), mem: {} }, { ...reading(1), load: 1 }, { ...reading(1), net: null }]) {
    assert.ok(!isReading(data), JSON.stringify(data));
  }
});

test("JSON is laid out for reading", () => {
  assert.equal(pretty({ bpm: 72.4, rr: 833 }), '{ "bpm": 72.4, "rr": 833 }');
  assert.equal(pretty([]), "[]");
  assert.equal(pretty({}), "{}");
  assert.equal(pretty("a"), '"a"');
  const flat = pretty({ n: 0, mv: Array.from({ length: 36 }, (_, i) => i) });
  assert.ok(!flat.includes("\n"));
  const deep = pretty({ a: { b: "x".repeat(40) }, c: [{ d: "y".repeat(40) }] });
  assert.equal(deep, `{\n  "a": { "b": "${"x".repeat(40)}" },\n  "c": [{ "d": "${"y".repeat(40)}" }]\n}`);
});

test("what is laid out is still the same JSON", () => {
  const values = [{ a: [1, [2, { b: null }]], c: "q\"uote\n", d: { e: { f: { g: "z".repeat(70) } } } }, [[{}], [[]]], true, -1.5e-9];
  for (const value of values) assert.deepEqual(JSON.parse(pretty(value)), value);
});

test("long JSON is cut and says so", () => {
  const text = pretty("x".repeat(10_000));
  assert.ok(text.length < 4100);
  assert.match(text, /\(6002 more characters\)$/);
});

test("tokens cover the text and know keys from strings", () => {
  const text = pretty({ key: "a: \"b\"", n: -1.5e3, t: true });
  const found = tokens(text);
  assert.equal(found.map((t) => t.text).join(""), text);
  assert.deepEqual(found.filter((t) => t.kind !== "plain").map((t) => t.kind), ["key", "string", "key", "number", "key", "word"]);
});

test("figures are short", () => {
  assert.equal(bytes(0), "0 B");
  assert.equal(bytes(999), "999 B");
  assert.equal(bytes(12_345), "12.3 kB");
  assert.equal(bytes(1_000_000), "1.00 MB");
  assert.equal(roundBytes(1_000_000), "1 MB");
  assert.equal(roundBytes(1_500_000), "1.5 MB");
  assert.equal(roundBytes(100_000_000), "100 MB");
  assert.equal(duration(3240), "3.2 s");
  assert.equal(duration(45_000), "45 s");
  assert.equal(duration(125_000), "2 min 5 s");
  assert.match(preciseClock(1007), /:01\.007$/);
  assert.equal(shortId("0123456789"), "01234567");
});
