// How a subscriber is served, and what becomes of one that is slow: with the
// unmodified npm client.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect, transports, until } from '../lib/clients.mjs';
import { Relay } from '../lib/relay.mjs';
import { API_KEY, freePort, Server } from '../lib/server.mjs';

let server;
let relay;
before(async () => {
  const port = await freePort();
  const open = 'history: {size: 2000}, subscribe: [anonymous], publish: [anonymous]';
  server = await Server.start({ port, config: `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {anonymous: true}
api: {key: ${API_KEY}}
drain: {grace: 0}
namespaces:
  open: {${open}}
  newest: {slow: conflate, ${open}}
  oldest: {slow: drop_oldest, ${open}, read_history: [anonymous]}
  again: {slow: resync, ${open}}
  alarm: {lane: alarm, ${open}}
` });
  relay = await Relay.start(server.port);
});
after(async () => {
  await relay.stop();
  await server.stop();
});

const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

/** listen subscribes and collects what comes. */
async function listen(c, ch, options) {
  const sub = c.newSubscription(ch, options);
  const got = { sub, values: [], offsets: [], at: [] };
  sub.on('publication', (p) => {
    got.values.push(p.data);
    got.offsets.push(p.offset);
    got.at.push(Date.now());
  });
  sub.on('subscribed', (e) => { got.context = e; });
  sub.subscribe();
  await sub.ready(20000);
  return got;
}

for (const t of transports.filter((t) => t.name.endsWith('JSON') || t.name === 'SSE')) {
  test(`conflated over ${t.name}: at most so often, and the last value always`, async () => {
    const ch = `open:conflated-${t.name.replaceAll(/\W+/g, '-')}`;
    const c = await connect(t, relay);
    const slow = await listen(c, ch, { data: { myelin: { rate: 10 } } });
    assert.deepEqual(slow.context.data, { myelin: { rate: 10 } });
    const publisher = await connect(transports[0], server);
    const began = Date.now();
    const most = () => Math.ceil((Date.now() - began) / 100) + 1;
    let n = 0;
    // Several at once: a slow disk takes its time for each.
    await until('some of many', async () => {
      await Promise.all(Array.from({ length: 5 }, () => publisher.publish(ch, ++n)));
      return Date.now() - began >= 1200 && n > 3 * most() && slow.values.length >= 8;
    });
    await publisher.publish(ch, ++n);
    await until('the last value', () => slow.values.at(-1) === n);
    assert.ok(slow.values.length <= most(), `${slow.values.length} of ${n} came, at most ${most()}`);

    // It comes back to exactly what is new, as one value.
    relay.refusing = true;
    relay.cut();
    const last = n;
    for (let i = 0; i < 5; i++) await publisher.publish(ch, ++n);
    relay.refusing = false;
    await until('recovered', () => slow.values.at(-1) === n);
    assert.equal(slow.context.recovered, true);
    assert.equal(slow.values.at(-2), last);
    assert.ok(slow.offsets.every((o, i) => i === 0 || o > slow.offsets[i - 1]), 'in order');
    c.disconnect();
    publisher.disconnect();
  });
}

test('last value first, and from an offset', async () => {
  const ch = 'open:since';
  const offsets = [];
  for (let n = 1; n <= 5; n++) offsets.push((await server.api('publish', { channel: ch, data: n })).offset);
  const c = await connect(transports[0], server);
  const last = await listen(c, ch, { data: { myelin: { since: 'last' } } });
  await until('the last value', () => last.values.length === 1);
  assert.deepEqual(last.values, [5]);
  c.removeSubscription(last.sub);
  const from = await listen(c, ch, { data: { myelin: { since: offsets[1] } } });
  await server.api('publish', { channel: ch, data: 6 });
  await until('all from there', () => from.values.at(-1) === 6);
  assert.deepEqual(from.values, [3, 4, 5, 6]);
  c.disconnect();
});

test('curl can ask for a rate', async () => {
  const ch = 'open:rated';
  const reading = new AbortController();
  const r = await fetch(server.http(`/connection/uni_sse?channel=${ch}&rate=5&since=last`), { signal: reading.signal });
  assert.equal(r.status, 200);
  const values = [];
  const done = (async () => {
    let text = '';
    for await (const b of r.body) {
      text += new TextDecoder().decode(b);
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const data = text.slice(0, end).split('\n').find((l) => l.startsWith('data: '));
        const push = data && JSON.parse(data.slice(6));
        if (push?.pub) values.push(push.pub.data);
      }
    }
  })().catch(() => {});
  const began = Date.now();
  await Promise.all(Array.from({ length: 199 }, (_, n) => server.api('publish', { channel: ch, data: n })));
  await server.api('publish', { channel: ch, data: 'last' });
  await until('the last', () => values.at(-1) === 'last');
  const most = Math.ceil((Date.now() - began) / 200) + 2;
  assert.ok(values.length <= most, `${values.length} came, at most ${most}`);
  reading.abort();
  await done;
  const bad = await fetch(server.http(`/connection/uni_sse?channel=${ch}&rate=often`));
  assert.equal(bad.status, 400);
});

/** slowly stops reading while a lot is published, then reads on. */
async function slowly(ch, count) {
  const c = await connect(transports[0], server);
  const told = [];
  c.on('message', (m) => told.push(m.data.myelin.slow));
  const got = await listen(c, ch);
  const again = [];
  got.sub.on('subscribing', (e) => again.push(e.code));
  const alarm = await listen(c, 'alarm:x');
  c._transport._transport._socket.pause();
  const pad = 'x'.repeat(60000);
  for (let n = 1; n <= count;) {
    await Promise.all(Array.from({ length: 10 }, () => server.api('publish', { channel: ch, data: { n: n++, pad } })));
  }
  await server.api('publish', { channel: 'alarm:x', data: 'fire' });
  c._transport._transport._socket.resume();
  // Who is told to subscribe again may find the last but one in the history, or too much there.
  if (ch.startsWith('again')) await until('subscribed again', () => got.context.wasRecovering && again.length > 0, 20000);
  await server.api('publish', { channel: ch, data: { n: count + 1 } });
  await until('the last', () => got.values.at(-1)?.n === count + 1, 20000);
  await until('the alarm', () => alarm.values.length === 1);
  return { c, got, told, again };
}

/** counted waits until what was told of as skipped and what came are all. */
async function counted(told, got, all) {
  const known = () => told.reduce((a, t) => a + t.skipped, 0) + got.values.length;
  await until('all are accounted for', () => known() >= all);
  assert.equal(known(), all);
}

test('a slow client of a conflate namespace ends with the newest, and is told', async () => {
  const { c, got, told, again } = await slowly('newest:x', 250);
  assert.equal(again.length, 0);
  await counted(told, got, 251);
  assert.ok(told.length > 0 && told.every((t) => t.channel === 'newest:x' && t.rule === 'conflate'), JSON.stringify(told));
  c.disconnect();
});

test('a slow client of a drop_oldest namespace knows the hole, and can read it', async () => {
  const { c, got, told } = await slowly('oldest:x', 250);
  await counted(told, got, 251);
  const hole = told[0];
  assert.equal(hole.rule, 'drop_oldest');
  const h = await got.sub.history({ since: { offset: hole.from - 1, epoch: got.context.streamPosition.epoch }, limit: 1 });
  assert.equal(h.publications[0].offset, hole.from);
  c.disconnect();
});

test('a slow client of a resync namespace subscribes again', async () => {
  const { c, got, again } = await slowly('again:x', 250);
  assert.deepEqual([...new Set(again)], [2550]);
  assert.equal(got.context.wasRecovering, true);
  c.disconnect();
});

test('what has expired comes to nobody', async () => {
  const c = await connect(transports[0], server);
  const ch = 'open:expiring';
  await c.rpc('myelin.publish', { channel: ch, data: 1, expires_in_ms: 1 });
  await c.rpc('myelin.publish', { channel: ch, data: 2, expires_in_ms: 60000 });
  await sleep(20);
  const got = await listen(c, ch, { data: { myelin: { since: 0 } } });
  await until('the other', () => got.values.length > 0);
  assert.deepEqual(got.values, [2]);
  assert.equal(got.context.recovered, true);
  await assert.rejects(c.rpc('myelin.publish', { channel: ch, data: 3, expires_in_ms: -1 }), { code: 107 });
  c.disconnect();
});
