// Hooks, the lifecycle and webhooks: a Node http server as the application, the
// npm client, the real binary.
import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { PATIENCE, until } from '../lib/clients.mjs';
import { API_KEY, freePort, inSeconds, SECRET, Server, token } from '../lib/server.mjs';

const HOOK_SECRET = 'a-secret-of-hooks-and-webhooks';

/** verify is what docs/hooks.md tells a receiver to do. */
function verify(secret, header, body, now = Date.now()) {
  const { t, v1 } = Object.fromEntries((header ?? '').split(',').map((p) => p.split('=')));
  if (!t || !v1 || Math.abs(now / 1000 - Number(t)) > 300) return false;
  const want = createHmac('sha256', secret).update(`${t}.`).update(body).digest();
  const given = Buffer.from(v1, 'hex');
  return given.length === want.length && timingSafeEqual(given, want);
}

/** Backend is the application: answers is how each path is answered. */
class Backend {
  answers = {};
  asked = [];
  forged = 0;
  seen = new Set();
  events = [];
  taking = true;
  refused = 0;

  async start() {
    this.port = await freePort();
    this.server = createServer((req, res) => {
      const parts = [];
      req.on('data', (b) => parts.push(b));
      req.on('end', () => this.answer(req, res, Buffer.concat(parts)));
    });
    this.server.keepAliveTimeout = 0; // nothing is asked while its connection is being closed
    await new Promise((r) => this.server.listen(this.port, '127.0.0.1', r));
    return this;
  }

  answer(req, res, body) {
    if (!verify(HOOK_SECRET, req.headers['x-myelin-signature'], body)) {
      this.forged++;
      res.writeHead(401).end();
      return;
    }
    const r = JSON.parse(body);
    if (req.url === '/events') {
      if (!this.taking) { this.refused++; res.writeHead(503).end(); return; }
      if (!this.seen.has(req.headers['x-myelin-id'])) {
        this.seen.add(req.headers['x-myelin-id']);
        this.events.push(...r.events);
      }
      res.end();
      return;
    }
    const name = req.url.slice(1);
    this.asked.push({ ...r, hook: name, headers: req.headers });
    const answer = this.answers[name]?.(r, req);
    if (answer === undefined) res.writeHead(500).end('no');
    else res.setHeader('Content-Type', 'application/json').end(JSON.stringify(answer));
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((r) => this.server.close(r));
  }
}

const config = (port, dir) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
engine: {disk: {path: ${dir}/data}}
drain: {grace: 0}
hooks:
  secret: ${HOOK_SECRET}
  headers: [X-App, Cookie]
  connect: {url: "http://127.0.0.1:${backend.port}/connect", timeout: 20s}
  refresh: {url: "http://127.0.0.1:${backend.port}/refresh", timeout: 20s}
  subscribe: {url: "http://127.0.0.1:${backend.port}/subscribe", timeout: 20s}
  sub_refresh: {url: "http://127.0.0.1:${backend.port}/sub_refresh", timeout: 20s}
  publish: {url: "http://127.0.0.1:${backend.port}/publish", timeout: 20s}
  rpc: {url: "http://127.0.0.1:${backend.port}/rpc", timeout: 20s}
lifecycle: {events: [connected, disconnected, subscribed, unsubscribed, occupied, vacated], vacated_after: 200ms}
webhooks:
  app: {url: "http://127.0.0.1:${backend.port}/events", secret: ${HOOK_SECRET}, retry: {min: 100ms, max: 500ms}}
namespaces:
  ask: {history: {size: 10}, hooks: [subscribe, publish]}
  open: {subscribe: [user]}
`;

let server;
let backend;
before(async () => {
  backend = await new Backend().start();
  server = await Server.start({ config });
});
after(async () => {
  await server.stop();
  await backend.stop();
});

/** client returns an npm client that is told apart by its data. */
function client(options = {}) {
  const c = new Centrifuge(server.ws('/connection/websocket'), { websocket: WebSocket, minReconnectDelay: 20, maxReconnectDelay: 100, timeout: PATIENCE, ...options });
  c.on('error', () => {});
  return c;
}

async function ready(options) {
  const c = client(options);
  c.connect();
  await c.ready(PATIENCE);
  return c;
}

const asked = (name) => backend.asked.filter((a) => a.hook === name);
const happened = (event, match = {}) => backend.events.filter((e) => e.event === event && Object.entries(match).every(([k, v]) => e[k] === v));

test('the application says who connects, and what the client is told', async () => {
  backend.answers.connect = (r) => (r.data?.name
    ? { result: { user: r.data.name, data: { hello: r.data.name }, channels: ['open:personal'] } }
    : { disconnect: { code: 4501, reason: 'who are you' } });
  const c = client({ data: { name: 'ann' }, headers: { 'X-App': 'seven', 'X-Other': 'no' } });
  let told;
  c.on('connected', (ctx) => { told = ctx.data; });
  const subscribed = new Promise((r) => c.on('subscribed', (ctx) => r(ctx.channel)));
  c.connect();
  await c.ready(PATIENCE);
  assert.deepEqual(told, { hello: 'ann' });
  assert.equal(await subscribed, 'open:personal');
  const [a] = asked('connect');
  assert.deepEqual([a.transport, a.protocol, a.encoding, a.headers['x-app'], a.headers['x-other']], ['websocket', 'json', 'json', 'seven', undefined]);
  c.disconnect();

  const d = client();
  const gone = new Promise((r) => d.on('disconnected', r));
  d.connect();
  assert.deepEqual(await gone.then((x) => [x.code, x.reason]), [4501, 'who are you']);
});

test('the application decides on subscriptions and publications, and answers rpcs', async () => {
  backend.answers.connect = (r) => ({ result: { user: r.data.name } });
  backend.answers.subscribe = (r) => (r.channel === 'ask:secret'
    ? { error: { code: 1403, message: 'not for you' } }
    : { result: { info: { of: r.user }, data: { welcome: true } } });
  backend.answers.publish = (r) => (r.data.bad ? { error: { code: 1400, message: 'mind your words' } } : { result: { data: { ...r.data, by: r.user } } });
  backend.answers.rpc = (r) => (r.method === 'sum' ? { result: { data: r.data.reduce((x, y) => x + y, 0) } } : { error: { code: 404, message: 'no such thing' } });
  const c = await ready({ data: { name: 'bob' } });
  const refused = c.newSubscription('ask:secret');
  const why = new Promise((r) => refused.on('unsubscribed', r));
  refused.subscribe();
  assert.deepEqual(await why.then((x) => [x.code, x.reason]), [1403, 'not for you']);
  const sub = c.newSubscription('ask:room', { data: { from: 'here' } });
  const got = [];
  sub.on('publication', (p) => got.push(p.data));
  const ok = new Promise((r) => sub.on('subscribed', (ctx) => r(ctx.data)));
  sub.subscribe();
  assert.deepEqual(await ok, { welcome: true });
  assert.deepEqual(asked('subscribe').at(-1).data, { from: 'here' });
  await sub.publish({ text: 'hi' });
  await assert.rejects(sub.publish({ bad: true }), { code: 1400, message: 'mind your words' });
  await until('publication', () => got.length === 1);
  assert.deepEqual(got, [{ text: 'hi', by: 'bob' }]);
  assert.equal((await c.rpc('sum', [1, 2, 3])).data, 6);
  await assert.rejects(c.rpc('nonsense', {}), { code: 404 });
  assert.ok((await c.rpc('myelin.time', {})).data.time_ms > 0);
  assert.equal(asked('rpc').filter((a) => a.method.startsWith('myelin.')).length, 0);
  c.disconnect();
});

test('the server asks again before the end, and ends what is not prolonged', async () => {
  backend.answers.connect = () => ({ result: { user: 'eve', expire_at: inSeconds(5) } });
  let renewals = 0;
  backend.answers.refresh = () => (++renewals === 1 ? { result: { expire_at: inSeconds(5) } } : { result: { expired: true } });
  const c = client({ data: {} });
  const gone = new Promise((r) => c.on('connecting', (x) => { if (x.code >= 3000) r(x.code); }));
  c.connect();
  await c.ready(PATIENCE);
  assert.equal(await gone, 3005);
  assert.equal(renewals, 2);
  assert.equal(asked('refresh').at(-1).user, 'eve');
  c.disconnect();
});

test('an application that is down is not in the way of others, and is said to be', async () => {
  backend.answers.connect = () => undefined;
  const c = client({ data: { name: 'ann' } });
  let refused = 0;
  c.on('error', (e) => { if (e.error.code === 1000 || e.type === 'connect') refused++; });
  c.on('connecting', () => {});
  c.connect();
  const t = await ready({ token: token({ sub: 'carl' }) }); // needs nobody
  await t.rpc('myelin.time', {});
  await until('refused', () => refused > 0);
  backend.answers.connect = (r) => ({ result: { user: r.data.name } });
  await c.ready(PATIENCE); // it comes back by itself, after the breaker's 5 s where that has opened
  c.disconnect();
  t.disconnect();
});

test('the lifecycle is a channel for a token that names it', async () => {
  const cap = (channels, match) => token({ sub: 'ops', caps: [{ channels, match, allow: ['sub', 'hst'] }] });
  const nosy = await ready({ token: cap(['*'], 'wildcard') });
  const no = nosy.newSubscription('$lifecycle:events');
  const why = new Promise((r) => no.on('unsubscribed', r));
  no.subscribe();
  assert.equal((await why).code, 103);
  nosy.disconnect();
  const ops = await ready({ token: cap(['$lifecycle:events']) });
  const sub = ops.newSubscription('$lifecycle:events');
  const seen = [];
  sub.on('publication', (p) => seen.push(...p.data.events));
  sub.subscribe();
  await sub.ready(PATIENCE);
  const t = await ready({ token: token({ sub: 'dora' }) });
  const s = t.newSubscription('open:hall');
  s.subscribe();
  await s.ready(PATIENCE);
  t.disconnect();
  // A client's events come in their order, and a channel's: one of the client may
  // come behind the end of the channel.
  const hers = () => seen.filter((e) => e.user === 'dora').map((e) => e.event);
  const its = () => seen.filter((e) => e.channel === 'open:hall').map((e) => e.event);
  await until('the end of both', () => hers().includes('disconnected') && its().includes('vacated'));
  assert.deepEqual(hers(), ['connected', 'subscribed', 'unsubscribed', 'disconnected']);
  assert.deepEqual(its(), ['subscribed', 'occupied', 'unsubscribed', 'vacated']);
  const old = await sub.history({ limit: 100 });
  assert.equal(old.publications[0].data.events[0].event, 'node_up');
  ops.disconnect();
});

test('a webhook gets everything, in order, also what a kill -9 came between', async () => {
  await until('all told', () => happened('disconnected', { user: 'dora' }).length === 1);
  backend.taking = false;
  const t = await ready({ token: token({ sub: 'fay' }) });
  const s = t.newSubscription('open:late');
  s.subscribe();
  await s.ready(PATIENCE);
  await until('it is kept', async () => (await server.api('history', { channel: '$lifecycle:events', limit: 10, reverse: true }))
    .publications.some((p) => p.data.events.some((e) => e.event === 'occupied' && e.channel === 'open:late')));
  await until('it is refused', () => backend.refused > 0);
  t.disconnect();
  await server.signal('SIGKILL');
  assert.equal(happened('connected', { user: 'fay' }).length, 0);
  backend.taking = true;
  await server.run();
  await until('delivered', () => happened('occupied', { channel: 'open:late' }).length === 1);
  assert.equal(happened('connected', { user: 'fay' }).length, 1);
  await until('the new life', () => backend.events.at(-1)?.event === 'node_up' || happened('node_up').length >= 2);
  const offsets = backend.events.map((e) => e.offset);
  assert.deepEqual(offsets, [...offsets].sort((a, b) => a - b));
  assert.equal(backend.forged, 0);
});

test('a forged webhook is refused by a receiver that does as the docs say', async () => {
  const body = JSON.stringify({ webhook: 'app', id: 'x', events: [{ event: 'connected', user: 'mallory' }] });
  const t = Math.floor(Date.now() / 1000);
  const sign = (secret, at) => `t=${at},v1=${createHmac('sha256', secret).update(`${at}.${body}`).digest('hex')}`;
  for (const header of [undefined, '', 't=1,v1=00', sign('guessed', t), sign(HOOK_SECRET, t - 600), sign(HOOK_SECRET, t).replace(`t=${t}`, `t=${t + 1}`)]) {
    const r = await fetch(`http://127.0.0.1:${backend.port}/events`, { method: 'POST', body, headers: header === undefined ? {} : { 'X-Myelin-Signature': header } });
    assert.equal(r.status, 401, header);
  }
  assert.equal(happened('connected', { user: 'mallory' }).length, 0);
});
