// "Why did this client not get it?": what the server says of publications, held
// against what unmodified clients saw. And who subscribes to patterns is told.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, once, transports, until } from '../lib/clients.mjs';
import { API_KEY, freePort, SECRET, Server, token } from '../lib/server.mjs';

let server;
let receiver;
const letters = [];
const config = (port, dir, hook, ping) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {anonymous: true, tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
client: {ping_interval: ${ping}s, pong_timeout: ${ping - 1}s}
engine: {kind: disk, disk: {path: ${dir}/data}}
lifecycle: {events: [subscribed, unsubscribed, occupied, vacated]}
webhooks:
  app: {url: "http://127.0.0.1:${hook}/", secret: a-secret-of-the-webhook, namespaces: [open]}
namespaces:
  open: {history: {size: 1000, ttl: 1h}, subscribe: [anonymous], publish: [anonymous], subscribe_patterns: [anonymous]}
  oldest: {slow: drop_oldest, history: {size: 2000, ttl: 1h}, subscribe: [anonymous]}
  private: {history: {size: 10, ttl: 1h}, subscribe: [token]}
  jobs:
    history: {size: 1000, ttl: 1h}
    durability: sync
    subscribe: [anonymous]
    subscribe_patterns: [anonymous]
    consumers: {clients: any, ack_timeout: 2s, max_attempts: 3, dead_letter: "dead:jobs"}
  dead: {history: {size: 1000, ttl: 1h}, durability: sync}
`;

before(async () => {
  const port = await freePort();
  receiver = createServer((req, res) => {
    const parts = [];
    req.on('data', (b) => parts.push(b)).on('end', () => { letters.push(...JSON.parse(Buffer.concat(parts)).events); res.end(); });
  });
  await new Promise((r) => receiver.listen(0, '127.0.0.1', r));
  const hook = receiver.address().port;
  const dir = mkdtempSync(join(tmpdir(), 'myelin-explain-'));
  writeFileSync(join(dir, 'c.yaml'), config(port, dir, hook, 4));
  server = await Server.start({ port, args: ['serve', '--config', join(dir, 'c.yaml')] });
  server.own = dir;
});
after(async () => {
  await server.stop();
  receiver.closeAllConnections();
  await new Promise((r) => receiver.close(r));
  rmSync(server.own, { recursive: true, force: true });
});

const publish = (channel, data, more = {}) => server.api('publish', { channel, data, ...more });

/** verdict returns what is said of a publication for a client. */
async function finding(client, channel, offset) {
  const { clients } = await server.api('explain', { channel, offset, client });
  assert.equal(clients.length, 1);
  return clients[0];
}

/** tells waits until a verdict is said, with words in its reason. */
async function tells(client, channel, offset, verdict, words = /./) {
  let last;
  try {
    await until(verdict, async () => {
      last = await finding(client, channel, offset);
      return last.verdict === verdict && words.test(last.reason);
    });
  } catch {
    assert.fail(`${channel} ${offset}: ${verdict} ${words} never, at last ${JSON.stringify(last)}`);
  }
}

/** consumed returns what one consumer says. */
const consumed = async (consumer, channel, offset) => (await server.api('explain', { channel, offset, consumer })).consumers[0];

async function listen(c, channel, options) {
  const sub = c.newSubscription(channel, options);
  const got = { sub, data: [], offsets: [] };
  sub.on('publication', (p) => { got.data.push(p.data); got.offsets.push(p.offset); });
  sub.subscribe();
  await sub.ready(20000);
  return got;
}

test('delivered, in vain, given up, acknowledged, and over kill -9', async () => {
  const channel = 'jobs:explained';
  const client = await connect(transports[0], server);
  const got = [];
  const sub = client.newSubscription(`$consumers:w~${channel}`);
  sub.on('publication', (ctx) => got.push(ctx));
  const of = (n) => got.filter((p) => p.data === n);
  sub.subscribe();
  await sub.ready(20000);
  await publish(channel, 1);
  let f;
  const verdicts = new Set();
  for (const n of [1, 2]) {
    await until(`delivery ${n}`, () => of(1).length >= n);
    f = await consumed('w', channel, 1);
    verdicts.add(f.verdict);
    // Time goes on while it is asked.
    assert.ok(f.attempts >= n && f.attempts <= 3, JSON.stringify(f));
    if (f.verdict !== 'delivered') continue;
    assert.equal(f.client, client._client);
    assert.match(f.connection.verdict, /written|received/);
  }
  assert.ok(verdicts.has('delivered'), `${[...verdicts]}`);
  await until('it is given up', async () => (f = await consumed('w', channel, 1)).verdict === 'given_up');
  assert.deepEqual([f.why, f.attempts, f.dead_letter], ['attempts', 3, 'dead:jobs']);
  const { publications } = await server.api('history', { channel: 'dead:jobs', limit: 100 });
  assert.equal(publications.filter((p) => p.data.offset === 1).length, 1);

  await publish(channel, 2);
  await until('a delivery of the second', () => of(2).length >= 1);
  await client.rpc('myelin.consumer.ack', { ack: of(2).at(-1).tags['myelin-ack'] });
  f = await consumed('w', channel, 2);
  assert.deepEqual([f.verdict, f.client], ['acknowledged', client._client]);
  const asked = await server.api('explain', { channel: `$consumers:w~${channel}`, offset: 2, client: client._client });
  assert.equal(asked.consumers[0].verdict, 'acknowledged');

  await server.api('consumer_create', { consumer: 'idle', channel });
  await publish(channel, 3);
  const all = (await server.api('explain', { channel, offset: 3 })).consumers;
  assert.deepEqual(all.map((c) => c.consumer), ['idle', 'w']);
  assert.equal(all[0].verdict, 'unsent');
  const mine = (await server.api('explain', { channel, offset: 3, client: client._client })).consumers;
  assert.deepEqual(mine.map((c) => c.consumer), ['w']);

  client.disconnect();
  await server.signal('SIGKILL');
  await server.run();
  f = await consumed('w', channel, 1);
  assert.deepEqual([f.verdict, f.why, f.attempts], ['given_up', 'attempts', 3]);
  assert.equal((await consumed('w', channel, 2)).verdict, 'acknowledged');
});

test('a consumer of a pattern is refused with what to do instead', async () => {
  const client = await connect(transports[0], server);
  await assert.rejects(client.rpc('myelin.consumer.create', { consumer: 'w', channel: 'jobs:*' }), (e) => {
    assert.equal(e.code, 107);
    assert.match(e.message, /make a consumer for each channel/);
    return true;
  });
  await assert.rejects(server.api('consumer_create', { consumer: 'w', channel: '**' }), /make a consumer for each channel/);
  client.disconnect();
});

test('received, earlier, not published, not subscribed, ended, unknown', async () => {
  const c = await connect(transports[0], server);
  await publish('open:a', 1);
  await tells(c._client, 'open:a', 1, 'not_subscribed');
  const got = await listen(c, 'open:a');
  await tells(c._client, 'open:a', 1, 'before_subscription');
  await publish('open:a', 2);
  await until('it', () => got.data.length === 1);
  await tells(c._client, 'open:a', 2, 'received', /answered a ping/);
  await tells(c._client, 'open:a', 3, 'not_published');
  await assert.rejects((async () => { const s = c.newSubscription('private:a'); s.subscribe(); await s.ready(2000); })());
  await publish('private:a', 1);
  await tells(c._client, 'private:a', 1, 'not_subscribed');
  got.sub.unsubscribe();
  await tells(c._client, 'open:a', 2, 'received', /before the subscription ended/);
  await publish('open:a', 3);
  await tells(c._client, 'open:a', 3, 'ended', /the client unsubscribed/);
  c.disconnect();
  await tells('nobody', 'open:a', 3, 'unknown_client');
});

test('of who left before a ping was answered nobody knows whether it had it', async () => {
  // A ping may come between: then once more.
  await until('who left before a ping', async () => {
    const c = await connect(transports[0], server);
    const got = await listen(c, 'open:left');
    const { offset } = await publish('open:left', 'it');
    await until('it', () => got.data.length > 0);
    const id = c._client;
    c.disconnect();
    let f;
    await until('it ended', async () => /before the subscription ended/.test((f = await finding(id, 'open:left', offset)).reason));
    if (f.verdict === 'received') return false;
    assert.equal(f.verdict, 'written');
    assert.match(f.reason, /no ping .* before the subscription ended/);
    const { offset: last } = await publish('open:left', 'last');
    await tells(id, 'open:left', last, 'ended', /connection/);
    return true;
  });
});

test('left out: by its own filter, by its token, by conflation', async () => {
  const filters = { key: 'kind', cmp: 'eq', val: 'alarm' };
  const own = await connect(transports[0], server);
  const bound = await connect(transports[0], server, {
    token: token({ sub: 'ann', caps: [{ channels: ['open:f'], allow: ['sub'], filter: filters }] }),
  });
  const paced = await connect(transports[0], server);
  const a = await listen(own, 'open:f', { tagsFilter: filters });
  const b = await listen(bound, 'open:f');
  const p = await listen(paced, 'open:f', { data: { myelin: { rate: 1 } } });
  // In one request: what is apart by more than its pace is not conflated.
  const commands = ['other', 'other', 'alarm'].map((kind, i) => ({ publish: { channel: 'open:f', data: i + 1, tags: { kind } } }));
  const all = await fetch(server.http('/api/batch'), { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-API-Key': API_KEY }, body: JSON.stringify({ commands }) });
  const body = await all.json();
  assert.ok(body.replies, JSON.stringify(body));
  const { replies } = body;
  assert.deepEqual(replies.map((r) => r.publish.offset), [1, 2, 3]);
  await until('the third', () => a.data.includes(3) && b.data.includes(3) && p.data.includes(3));
  assert.deepEqual([a.data, b.data], [[3], [3]]);
  for (const c of [own, bound]) {
    await tells(c._client, 'open:f', 1, 'skipped', /filter/);
    await tells(c._client, 'open:f', 3, 'received');
  }
  for (const offset of [1, 2]) {
    await tells(paced._client, 'open:f', offset, p.offsets.includes(offset) ? 'received' : 'skipped', p.offsets.includes(offset) ? /./ : /"conflate"/);
  }
  assert.ok(p.offsets.length < 3, 'nothing was conflated');
  for (const c of [own, bound, paced]) c.disconnect();
});

test('queued, dropped by rule and stale: a client that takes nothing', async (t) => {
  const port = await freePort();
  const patient = await Server.start({ port, config: config(port, join(server.own, 'patient'), 1, 25) });
  t.after(() => patient.stop());
  const c = await connect(transports[0], patient);
  t.after(() => c.disconnect());
  const kept = await listen(c, 'open:q');
  const dropped = await listen(c, 'oldest:q');
  const socket = c._transport._transport._socket;
  socket.pause();
  const id = c._client;
  const told = async (channel, offset) => (await patient.api('explain', { channel, offset, client: id })).clients[0];
  const put = async (channel, data, more) => (await patient.api('publish', { channel, data, ...more })).offset;
  const big = 'x'.repeat(60_000);
  // More than the buffers of the kernel, until the rule has left something out.
  let last;
  let f;
  const skipped = [];
  await until('something is left out', async () => {
    await Promise.all(Array.from({ length: 8 }, () => put('oldest:q', big)));
    last = await put('oldest:q', big);
    for (let o = last; o > 0 && skipped.length === 0 && o > last - 5; o--) {
      f = await told('oldest:q', o);
      if (f.verdict === 'skipped') skipped.push(o);
    }
    return skipped.length > 0;
  });
  assert.match(f.reason, /drop_oldest/);
  assert.equal((await told('oldest:q', last)).verdict, 'queued');
  const stale = await put('open:q', 'stale', { expires_in_ms: 1 });
  assert.match((await told('open:q', stale)).verdict, /queued|skipped/); // it may have expired on the way to the queue
  await until('it has expired', async () => Date.now() > (await patient.api('explain', { channel: 'open:q', offset: stale })).published.time + 1);
  socket.resume();
  const end = await put('oldest:q', 'the end');
  await until('it takes again', () => dropped.offsets.includes(end));
  assert.ok(!dropped.offsets.includes(skipped[0]) && !kept.data.includes('stale'));
  assert.equal((await told('oldest:q', skipped[0])).verdict, 'skipped');
  f = await told('open:q', stale);
  assert.equal(f.verdict, 'skipped');
  assert.match(f.reason, /expired/);
});

test('subscriptions to patterns are told, to the channel and to a webhook', async () => {
  const c = await connect(transports[0], server);
  const reader = await connect(transports[0], server, {
    token: token({ sub: 'ops', caps: [{ channels: ['$lifecycle:events'], allow: ['sub', 'hst'] }] }),
  });
  const told = [];
  const events = reader.newSubscription('$lifecycle:events');
  events.on('publication', (p) => told.push(...p.data.events.filter((e) => e.client === c._client || e.pattern)));
  events.subscribe();
  await events.ready(20000);
  const sub = c.newSubscription('open:p.*');
  sub.subscribe();
  await sub.ready(20000);
  const ended = once(sub, 'unsubscribed');
  sub.unsubscribe();
  await ended;
  const seen = (list) => list.filter((e) => e.pattern && e.channel === 'open:p.*').map((e) => e.event);
  await until('both', () => seen(told).length === 2);
  assert.deepEqual(seen(told), ['subscribed', 'unsubscribed']);
  // It may come there twice.
  await until('both at the webhook', () => seen(letters).length >= 2);
  assert.deepEqual([...new Set(seen(letters))], ['subscribed', 'unsubscribed']);
  assert.ok(!told.some((e) => /occupied|vacated/.test(e.event)));
  c.disconnect();
  reader.disconnect();
});
