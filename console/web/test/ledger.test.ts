import assert from "node:assert/strict";
import { test } from "node:test";
import { explanation, Ledger, verdict, type Fate, type Outage } from "../src/link/ledger.ts";

const at = (offset: number, epoch = "a") => ({ epoch, offset });

function ledger(): { ledger: Ledger; outages: () => readonly Outage[] } {
  let last: readonly Outage[] = [];
  return { ledger: new Ledger((outages) => (last = outages)), outages: () => last };
}

function fate(outage: Outage | undefined, channel: string): Fate {
  const found = outage?.fates.find((f) => f.channel === channel);
  assert.ok(found, `no fate of ${channel}`);
  return found;
}

test("a first subscription is not an outage", () => {
  const { ledger: l, outages } = ledger();
  l.answered("chat:lobby", { wasRecovering: false, recovered: false, position: at(3) });
  assert.deepEqual(outages(), []);
});

test("an outage tells per channel what was recovered", () => {
  const { ledger: l, outages } = ledger();
  l.linkLost(1000, "transport closed", new Map([["ecg", at(10)], ["chat", at(2)], ["plain", null]]));
  assert.equal(outages()[0]?.to, null);
  assert.equal(verdict(fate(outages()[0], "ecg")), "waiting for the server");
  l.linkBack(4000);
  l.answered("ecg", { wasRecovering: true, recovered: true, position: at(10) });
  l.recovered("ecg", 30);
  l.answered("chat", { wasRecovering: true, recovered: true, position: at(2) });
  l.recovered("chat", 0);
  l.answered("plain", { wasRecovering: false, recovered: false, position: null });
  const [outage] = outages();
  assert.equal(outage?.to, 4000);
  assert.equal(verdict(fate(outage, "ecg")), "missed 30 publications: recovered 30");
  assert.equal(verdict(fate(outage, "chat")), "missed nothing");
  assert.equal(verdict(fate(outage, "plain")), "not recoverable: no history kept");
});

test("a server that restarted says so, and the page says what it read back", () => {
  const { ledger: l, outages } = ledger();
  l.linkLost(0, "transport closed", new Map([["ecg", at(10, "old")]]));
  l.linkBack(1);
  l.answered("ecg", { wasRecovering: true, recovered: false, position: at(4, "new") });
  l.refilled("ecg", 4);
  const lost = fate(outages()[0], "ecg");
  assert.equal(verdict(lost), "could not recover: told by server");
  assert.equal(explanation(lost), "new epoch new; 4 from history");
});

test("the same epoch that cannot be recovered has lost its history", () => {
  const { ledger: l, outages } = ledger();
  l.linkLost(0, "", new Map([["ecg", at(10)]]));
  l.answered("ecg", { wasRecovering: true, recovered: false, position: at(900) });
  assert.equal(explanation(fate(outages()[0], "ecg")), "history no longer reaches back to #10");
});

test("a link that breaks again before it is back is one outage", () => {
  const { ledger: l, outages } = ledger();
  l.linkLost(0, "first", new Map([["ecg", at(1)]]));
  l.linkLost(5, "second", new Map([["ecg", at(1)]]));
  assert.equal(outages().length, 1);
  assert.equal(outages()[0]?.reason, "first");
});

test("a channel that was not back when the link broke again has been away since the first time", () => {
  const { ledger: l, outages } = ledger();
  l.linkLost(0, "node died", new Map([["ecg", at(1)], ["chat", at(2)]]));
  l.linkBack(1);
  l.answered("ecg", { wasRecovering: true, recovered: true, position: at(1) });
  l.recovered("ecg", 5);
  l.linkLost(2, "subscribe timeout", new Map([["ecg", at(6)], ["chat", at(2)]]));
  l.linkBack(3);
  l.answered("chat", { wasRecovering: true, recovered: true, position: at(9) });
  l.recovered("chat", 7);
  l.answered("ecg", { wasRecovering: true, recovered: true, position: at(6) });
  l.recovered("ecg", 1);
  const told = outages().map((o) => o.fates.map((f) => `${f.channel}: ${verdict(f)}`));
  assert.deepEqual(told, [["ecg: missed 1 publication: recovered 1"], [
    "ecg: missed 5 publications: recovered 5", "chat: missed 7 publications: recovered 7",
  ]]);
});

test("answers belong to the newest outage that waits for them", () => {
  const { ledger: l, outages } = ledger();
  l.linkLost(0, "one", new Map([["ecg", at(1)]]));
  l.linkBack(1);
  l.answered("ecg", { wasRecovering: true, recovered: true, position: at(1) });
  l.recovered("ecg", 5);
  l.linkLost(2, "two", new Map([["ecg", at(6)]]));
  l.linkBack(3);
  l.answered("ecg", { wasRecovering: true, recovered: true, position: at(6) });
  l.recovered("ecg", 7);
  assert.deepEqual(outages().map((o) => fate(o, "ecg").recovered), [7, 5]);
});

test("one channel can be lost while the link is up", () => {
  const { ledger: l, outages } = ledger();
  l.channelLost(9, "insufficient state", "ecg", at(3));
  l.channelLost(10, "insufficient state", "ecg", at(3));
  l.answered("ecg", { wasRecovering: true, recovered: true, position: at(3) });
  l.recovered("ecg", 2);
  assert.equal(outages().length, 1);
  assert.equal(outages()[0]?.to, 9);
  assert.equal(fate(outages()[0], "ecg").recovered, 2);
});

test("a channel nobody wants any more is not waited for", () => {
  const { ledger: l, outages } = ledger();
  l.linkLost(0, "", new Map([["ecg", at(1)], ["tail", at(1)]]));
  l.forgotten("tail");
  assert.deepEqual(outages()[0]?.fates.map((f) => f.channel), ["ecg"]);
});

test("it keeps twenty outages", () => {
  const { ledger: l, outages } = ledger();
  for (let i = 0; i < 30; i++) {
    l.linkLost(i * 2, String(i), new Map());
    l.linkBack(i * 2 + 1);
  }
  assert.equal(outages().length, 20);
  assert.equal(outages()[0]?.reason, "29");
});
