// What no client should send: the published code, and nobody else is harmed.
import assert from 'node:assert/strict';
import { connect as dial } from 'node:net';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { connect, once, transports, until } from '../lib/clients.mjs';
import { Server } from '../lib/server.mjs';

let server;
let witness;
let heard;
before(async () => {
  server = await Server.start();
  witness = await connect(transports[0], server);
  const sub = witness.newSubscription('open:witness');
  heard = [];
  sub.on('publication', (p) => heard.push(p.data));
  sub.subscribe();
  await sub.ready(20000);
});
after(async () => {
  // Through all of this the witness was connected once and heard everything.
  for (let n = 0; n < 10; n++) await server.api('publish', { channel: 'open:witness', data: n });
  await until('the witness hears', () => heard.length === 10);
  assert.deepEqual(heard, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(witness.state, 'connected');
  witness.disconnect();
  assert.ok(!server.log.includes('panic'), server.log);
  await server.stop();
});

/** closes sends messages over a fresh WebSocket and returns how it is closed. */
async function closes(...messages) {
  const ws = new WebSocket(server.ws('/connection/websocket'));
  await once(ws, 'open');
  const closed = new Promise((resolve) => ws.on('close', resolve));
  for (const m of messages) ws.send(m);
  return closed;
}

const hello = '{"id":1,"connect":{}}';

for (const [what, code, ...messages] of [
  ['a command before connect', 3501, '{"id":1,"subscribe":{"channel":"open:x"}}'],
  ['connect twice', 3501, hello, '{"id":2,"connect":{}}'],
  ['no JSON', 3501, 'hello'],
  ['truncated JSON', 3501, '{"id":1,"connect":{'],
  ['an array', 3501, '[]'],
  ['a command without a request', 3501, hello, '{"id":2}'],
  ['a request without an id', 3501, hello, '{"publish":{"channel":"open:x","data":1}}'],
  ['a pong nobody asked for', 3501, hello, '{}'],
  ['deep JSON', 3501, hello, `{"id":2,"publish":{"channel":"open:x","data":${'['.repeat(5000)}${']'.repeat(5000)}}}`],
  ['a wrong type', 3501, hello, '{"id":2,"publish":{"channel":7,"data":1}}'],
  ['send, which nobody takes', 3508, hello, '{"send":{"data":1}}'],
  ['an oversize message', 1009, `{"id":1,"connect":{"data":"${'x'.repeat(100000)}"}}`],
]) {
  test(what, async () => assert.equal(await closes(...messages), code));
}

test('double subscribe is refused and leaves the first alone', async () => {
  const ws = new WebSocket(server.ws('/connection/websocket'));
  await once(ws, 'open');
  const got = [];
  ws.on('message', (m) => got.push(...String(m).split('\n').map((x) => JSON.parse(x))));
  ws.send(`${hello}\n{"id":2,"subscribe":{"channel":"open:twice"}}\n{"id":3,"subscribe":{"channel":"open:twice"}}`);
  await until('three replies', () => got.length >= 3);
  assert.equal(got.find((r) => r.id === 3).error.code, 105);
  await server.api('publish', { channel: 'open:twice', data: 1 });
  await until('the publication', () => got.some((r) => r.push?.pub));
  ws.terminate();
});

test('offsets out of the range of the channel are not recovered', async () => {
  const ws = new WebSocket(server.ws('/connection/websocket'));
  await once(ws, 'open');
  const got = [];
  ws.on('message', (m) => got.push(JSON.parse(m)));
  ws.send(hello);
  ws.send('{"id":2,"subscribe":{"channel":"open:far","recover":true,"epoch":"x","offset":9007199254740993}}');
  await until('the reply', () => got.some((r) => r.id === 2));
  const { subscribe } = got.find((r) => r.id === 2);
  assert.equal(subscribe.was_recovering, true);
  assert.ok(!subscribe.recovered);
  ws.terminate();
});

test('raw bytes instead of frames', async () => {
  const head = `GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`;
  for (const bytes of [Buffer.from([0xff, 0xff, 0xff, 0xff]), Buffer.from([0x81, 0x05, 1, 2, 3, 4, 5]), Buffer.alloc(3000, 0x55)]) {
    const socket = dial(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(head);
    await once(socket, 'data');
    const ended = new Promise((resolve) => socket.on('close', resolve));
    socket.write(bytes);
    socket.resume();
    await ended;
  }
});

test('another origin is refused at every door', async () => {
  for (const path of ['/connection/sse', '/connection/uni_sse', '/connection/http_stream', '/connection/uni_http_stream', '/emulation']) {
    const r = await fetch(server.http(path), { method: 'POST', body: hello, headers: { Origin: 'http://evil.example' } });
    assert.equal(r.status, 403, path);
  }
  const ws = new WebSocket(server.ws('/connection/websocket'), { origin: 'http://evil.example' });
  ws.on('error', () => {});
  const [, res] = await new Promise((resolve) => ws.on('unexpected-response', (...a) => resolve(a)));
  assert.equal(res.statusCode, 403);
  const ok = await fetch(server.http('/connection/http_stream'), { method: 'OPTIONS', headers: { Origin: 'http://allowed.example' } });
  assert.equal(ok.headers.get('access-control-allow-origin'), 'http://allowed.example');
});

test('the API wants its key and whole requests', async () => {
  const post = (body, headers = {}) => fetch(server.http('/api/publish'), { method: 'POST', body, headers });
  assert.equal((await post('{}')).status, 401);
  assert.equal((await post('{}', { 'X-API-Key': 'wrong' })).status, 401);
});

test('a client that stops reading is dropped and costs bounded memory', async () => {
  const lazy = new WebSocket(server.ws('/connection/websocket'));
  await once(lazy, 'open');
  lazy.send(`${hello}\n{"id":2,"subscribe":{"channel":"open:flood"}}`);
  await once(lazy, 'message');
  lazy.pause();
  const before = await rss();
  const big = 'x'.repeat(30000);
  const quick = await connect(transports[0], server);
  const sub = quick.newSubscription('open:flood');
  let n = 0;
  sub.on('publication', () => n++);
  sub.subscribe();
  await sub.ready(20000);
  for (let i = 0; i < 1000; i++) await server.api('publish', { channel: 'open:flood', data: big });
  await until('the quick one has all', () => n === 1000, 30000);
  await until('the lazy one is gone', async () => (await server.api('presence_stats', { channel: 'open:flood' })).num_clients === 1, 30000);
  const grown = (await rss()) - before;
  assert.ok(grown < 200e6, `the server grew by ${grown} bytes`);
  quick.disconnect();
  lazy.terminate();
});

async function rss() {
  const { readFileSync } = await import('node:fs');
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.process.pid}/status`, 'utf8'))[1]) * 1024;
}
