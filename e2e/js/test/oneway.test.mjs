// The one-way doors: npm eventsource, fetch and ws.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { once, until } from '../lib/clients.mjs';
import { Relay } from '../lib/relay.mjs';
import { inSeconds, Server, token } from '../lib/server.mjs';

const ROUNDS = 20;

let server;
let relay;
before(async () => {
  server = await Server.start();
  relay = await Relay.start(server.port);
});
after(async () => {
  await relay.stop();
  await server.stop();
});

const publish = (channel, data) => server.api('publish', { channel, data });

/** listen opens an EventSource and collects its pushes. */
function listen(url) {
  const es = new EventSource(url);
  const pushes = [];
  es.onmessage = (m) => pushes.push(JSON.parse(m.data));
  return { es, pushes, close: () => es.close() };
}

/** data is the publications of a channel, recovered ones included, in order of arrival. */
const data = (pushes, ch) => pushes.flatMap((p) => {
  if (p.connect) return (p.connect.subs?.[ch]?.publications ?? []).map((x) => x.data);
  return p.channel === ch && p.pub ? [p.pub.data] : [];
});

test(`uni_sse resumes two channels by Last-Event-ID, ${ROUNDS} cuts`, async () => {
  const cf = encodeURIComponent(JSON.stringify({ subs: { 'open:sse-a': {}, 'open:sse-b': {} } }));
  const l = listen(relay.http(`/connection/uni_sse?cf_connect=${cf}`));
  await until('connected', () => l.pushes.length > 0);
  const want = { 'open:sse-a': [], 'open:sse-b': [] };
  const both = async (n) => {
    for (const ch of Object.keys(want)) {
      await publish(ch, n);
      want[ch].push(n);
    }
  };
  const connects = () => l.pushes.filter((p) => p.connect);
  for (let n = 0; n < ROUNDS; n++) {
    await both(`${n} before`);
    const seen = connects().length;
    relay.cut();
    await both(`${n} away`);
    await until('back', () => connects().length > seen);
    await both(`${n} after`);
  }
  for (const ch of Object.keys(want)) {
    await until('all', () => data(l.pushes, ch).length >= want[ch].length);
    assert.deepEqual(data(l.pushes, ch), want[ch]);
  }
  for (const p of connects().slice(1)) {
    for (const s of Object.values(p.connect.subs)) assert.ok(s.was_recovering && s.recovered);
  }
  l.close();
});

test('uni_sse says when it could not recover', async () => {
  const l = listen(relay.http('/connection/uni_sse?channel=short:sse'));
  await until('connected', () => l.pushes.length > 0);
  await publish('short:sse', 0);
  await until('first', () => data(l.pushes, 'short:sse').length === 1);
  relay.refusing = true;
  relay.cut();
  for (let n = 1; n < 20; n++) await publish('short:sse', n);
  relay.refusing = false;
  await until('back', () => l.pushes.filter((p) => p.connect).length === 2);
  const sub = l.pushes.findLast((p) => p.connect).connect.subs['short:sse'];
  assert.equal(sub.was_recovering, true);
  assert.ok(!sub.recovered);
  l.close();
});

test('uni_sse refuses by HTTP status, so that EventSource stays away', async () => {
  for (const [query, status, code] of [
    ['channel=nowhere:x', 404, 102],
    ['channel=members:x', 403, 103],
    ['channel=open:x&token=nonsense', 401, 3500],
    [`channel=open:x&token=${token({ sub: 'a', exp: inSeconds(-3600) })}`, 401, 109],
    ['cf_connect=%7B', 400, 107],
  ]) {
    const r = await fetch(server.http(`/connection/uni_sse?${query}`));
    assert.equal(r.status, status, query);
    assert.equal((await r.json()).error.code, code, query);
  }
});

test('uni_http_stream resumes by the positions of the connect request', async () => {
  const ch = 'open:stream';
  const open = async (sub) => {
    const stop = new AbortController();
    const r = await fetch(server.http('/connection/uni_http_stream'), {
      method: 'POST', signal: stop.signal, body: JSON.stringify({ subs: { [ch]: sub } }),
    });
    assert.equal(r.status, 200);
    const lines = [];
    (async () => {
      let rest = '';
      for await (const chunk of r.body.pipeThrough(new TextDecoderStream())) {
        const parts = (rest + chunk).split('\n');
        rest = parts.pop();
        lines.push(...parts.map((x) => JSON.parse(x)));
      }
    })().catch(() => {});
    await until('connected', () => lines.length > 0);
    return { lines, stop: () => stop.abort() };
  };
  const first = await open({});
  await publish(ch, 1);
  await until('1', () => data(first.lines, ch).length === 1);
  const at = { recover: true, epoch: first.lines[0].connect.subs[ch].epoch, offset: first.lines[1].pub.offset };
  first.stop();
  await publish(ch, 2);
  const second = await open(at);
  await publish(ch, 3);
  await until('2 and 3', () => data(second.lines, ch).length === 2);
  assert.deepEqual(data(second.lines, ch), [2, 3]);
  assert.equal(second.lines[0].connect.subs[ch].recovered, true);
  second.stop();
});

test('uni_websocket connects by its first message or by the query', async () => {
  const ch = 'open:uniws';
  const req = JSON.stringify({ subs: { [ch]: {} } });
  for (const query of ['', `?cf_connect=${encodeURIComponent(req)}`]) {
    const ws = new WebSocket(server.ws(`/connection/uni_websocket${query}`));
    const got = [];
    ws.on('message', (m) => got.push(JSON.parse(m)));
    await once(ws, 'open');
    if (!query) ws.send(req);
    await until('connect push', () => got.some((p) => p.connect));
    await publish(ch, query);
    await until('publication', () => got.some((p) => p.pub?.data === query));
    ws.close();
  }
  const ws = new WebSocket(server.ws('/connection/uni_websocket'));
  await once(ws, 'open');
  const closed = new Promise((resolve) => ws.on('close', resolve));
  ws.send(JSON.stringify({ token: 'nonsense' }));
  assert.equal(await closed, 3500);
});
