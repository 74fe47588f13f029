// A server that stops and comes back: the clients' own rules bring all back,
// spread, and exactly where they were.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EventSource } from 'eventsource';
import Pusher from 'pusher-js';
import { client, transports, until } from '../lib/clients.mjs';
import { API_KEY, SECRET, Server, token } from '../lib/server.mjs';

const TOPIC = 'https://example.com/drain';
const HUB = '/.well-known/mercure';

const config = (port, dir) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {anonymous: true, tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0, rate: 1000}
mercure: {enabled: true}
pusher: {app_id: "42", key: an-app-key, secret: an-app-secret}
engine: {kind: disk, disk: {path: ${dir}/data}}
namespaces:
  log: {history: {size: 100, ttl: 5m}, durability: sync, subscribe: [anonymous]}
  mercure: {history: {size: 100, ttl: 5m}, durability: sync, subscribe: [anonymous]}
  mercure-private: {subscribe: [token]}
  pusher: {subscribe: [anonymous]}
  pusher-private: {subscribe: [token]}
`;

let server;
const closers = [];
before(async () => { server = await Server.start({ config }); });
after(async () => {
  for (const close of closers) close();
  await server.stop();
});

const publisher = `Bearer ${token({ mercure: { publish: ['*'] } })}`;

/** publish tells a number to everybody. */
async function publish(n) {
  await server.api('publish', { channel: 'log:x', data: n });
  await server.api('publish', { channel: 'pusher:x', data: n });
  const body = new URLSearchParams({ topic: TOPIC, data: `${n}` });
  const r = await fetch(server.http(HUB), { method: 'POST', headers: { Authorization: publisher }, body });
  assert.equal(r.status, 200, await r.text());
}

/** follow is one client of each door that keeps a position, and what it got. */
function follow() {
  const all = [];
  for (const t of transports) {
    const one = { name: t.name, got: [], codes: [], up: false };
    const c = client(t, server, { minReconnectDelay: undefined, maxReconnectDelay: undefined });
    c.on('connecting', (e) => { one.up = false; one.codes.push(e.code); });
    const sub = c.newSubscription('log:x', { recoverable: true });
    sub.on('publication', (p) => one.got.push(t.decode(p.data)));
    sub.on('subscribed', () => { one.up = true; });
    sub.subscribe();
    c.connect();
    closers.push(() => c.disconnect());
    all.push(one);
  }
  const uni = { name: 'uni_sse', got: [], codes: [], up: false };
  const es = new EventSource(server.http('/connection/uni_sse?channel=log:x'));
  es.onmessage = (m) => {
    const p = JSON.parse(m.data);
    if (p.connect) {
      uni.up = true;
      for (const pub of p.connect.subs['log:x'].publications ?? []) uni.got.push(pub.data);
    }
    if (p.pub) uni.got.push(p.pub.data);
    if (p.disconnect) uni.codes.push(p.disconnect.code);
  };
  es.onerror = () => { uni.up = false; };
  const mercure = { name: 'Mercure', got: [], codes: [], up: false };
  const ms = new EventSource(server.http(`${HUB}?topic=${encodeURIComponent(TOPIC)}`));
  ms.onopen = () => { mercure.up = true; };
  ms.onmessage = (m) => mercure.got.push(Number(m.data));
  ms.onerror = () => { mercure.up = false; };
  closers.push(() => es.close(), () => ms.close());
  return [...all, uni, mercure];
}

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test('a restart sends every client away, and each comes back where it was', async () => {
  const all = follow();
  const up = () => all.every((c) => c.up);
  await until('all listen', up);
  for (const n of numbers(1, 5)) await publish(n);
  await until('all have it', () => all.every((c) => c.got.length === 5));
  for (const c of all) c.codes.length = 0;
  assert.deepEqual(await server.signal(), { code: 0, signal: null });
  await until('all are away', () => all.every((c) => !c.up));
  await server.run();
  for (const n of numbers(6, 10)) await publish(n);
  await until('all are back', up, 60000); // the clients' own delays grow to 20 s
  await publish(11);
  await until('all have all', () => all.every((c) => c.got.length >= 11));
  for (const c of all) {
    assert.deepEqual(c.got, numbers(1, 11), c.name);
    // Mercure has no goodbye: the stream ends.
    if (c.name !== 'Mercure') assert.equal(c.codes[0], 3001, c.name);
  }
});

/** advice opens streams and returns the milliseconds that each was told to wait. */
async function advice(path, n) {
  const told = [];
  for (let i = 0; i < n; i++) {
    const stop = new AbortController();
    const r = await fetch(server.http(path), { signal: stop.signal });
    let text = '';
    for await (const chunk of r.body) {
      text += Buffer.from(chunk);
      if (/^retry: \d+\n/m.test(text)) break;
    }
    stop.abort();
    told.push(Number(/^retry: (\d+)$/m.exec(text)[1]));
  }
  return told;
}

for (const path of ['/connection/uni_sse?channel=log:x', `${HUB}?topic=${encodeURIComponent(TOPIC)}`]) {
  test(`${path.split('?')[0]} tells each stream another delay`, async () => {
    const told = await advice(path, 12);
    for (const ms of told) assert.ok(ms >= 500 && ms < 1000, `${told}`);
    assert.ok(new Set(told).size > 1, `${told}`);
  });
}

test('pusher-js backs off and comes back', async () => {
  const p = new Pusher('an-app-key', {
    cluster: '', wsHost: '127.0.0.1', wsPort: server.port, forceTLS: false, enabledTransports: ['ws'],
  });
  closers.push(() => p.disconnect());
  const states = [];
  const errors = [];
  p.connection.bind('state_change', (s) => states.push([s.current, Date.now()]));
  p.connection.bind('error', (e) => errors.push(e.data?.code ?? e.error?.data?.code));
  const got = [];
  const ch = p.subscribe('x');
  ch.bind_global((event, data) => { if (!event.startsWith('pusher:')) got.push(data); });
  await until('subscribed', () => ch.subscribed);
  await publish(1);
  await until('it comes', () => got.length === 1);
  states.length = 0;
  const stopped = Date.now();
  await server.signal();
  // It tries after a second, and where nobody is there 15 s later.
  await server.run();
  await until('back', () => states.length > 0 && p.connection.state === 'connected' && ch.subscribed, 60000);
  await publish(2);
  await until('it comes again', () => got.length === 2);
  assert.equal(states[0][0], 'connecting', JSON.stringify(states));
  assert.ok(states[0][1] - stopped >= 990, JSON.stringify(states));
  assert.ok(errors.includes(4100), JSON.stringify(errors));
});
