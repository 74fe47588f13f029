// Acknowledged consumers with unmodified clients, over restarts and kill -9.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connect, once, PATIENCE, transports, until } from '../lib/clients.mjs';
import { insist } from '../lib/cluster.mjs';
import { API_KEY, keeps, SECRET, Server, token } from '../lib/server.mjs';

// How long an acknowledgement may take, in ms: a machine that is busy with
// something else may take seconds.
const ACK = 4000;

const config = (port, dir) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {anonymous: true, tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
engine: {disk: {path: ${dir}/data}}
namespaces:
  jobs:
    history: {size: 10000, ttl: 1h}
    subscribe: [anonymous]
    consumers: {clients: any, ack_timeout: ${ACK}ms, max_attempts: 3, dead_letter: "dead:jobs"}
  dead:
    history: {size: 1000, ttl: 1h}
  private:
    history: {size: 100, ttl: 1h}
    subscribe: [user]
`;

let server;
before(async () => { server = await Server.start({ config }); });
after(() => server.stop());

/** consume takes a seat and calls work with each delivery. */
async function consume(client, name, channel, work) {
  const sub = client.newSubscription(`$consumers:${name}~${channel}`);
  sub.on('publication', (ctx) => work(ctx, () => client.rpc('myelin.consumer.ack', { ack: ctx.tags['myelin-ack'] })));
  sub.subscribe();
  await sub.ready(PATIENCE);
  return sub;
}

// They wait for the same times, so they do it together.
describe('what is not acknowledged comes again', { concurrency: true }, () => {
  for (const t of transports) test(`${t.name}: at last as a dead letter`, () => giveUp(t));
  test('a device with a one-way stream acknowledges by a plain request', device);
});

/** giveUp has a client of a transport acknowledge all but one of three. */
async function giveUp(t) {
  const channel = `jobs:${t.name.replace(/\W/g, '')}`;
  const client = await connect(t, server);
  const got = [];
  const published = new Map();
  const ack = (tag) => client.rpc('myelin.consumer.ack', t.encode({ ack: tag })).catch(() => {});
  const sub = client.newSubscription(`$consumers:w~${channel}`);
  sub.on('publication', (ctx) => {
    const { n } = t.decode(ctx.data);
    got.push({ n, attempt: Number(ctx.tags['myelin-attempt']), after: Date.now() - published.get(n) });
    if (n !== 2) ack(ctx.tags['myelin-ack']);
  });
  sub.subscribe();
  await sub.ready(PATIENCE);
  for (const n of [1, 2, 3]) {
    published.set(n, Date.now());
    await server.api('publish', { channel, data: { n } });
  }
  const of = (n) => got.filter((d) => d.n === n).map((d) => d.attempt);
  await until('the third attempt', () => of(2).length === 3);
  assert.deepEqual(got.filter((d) => d.attempt === 1).map((d) => d.n), [1, 2, 3]);
  assert.deepEqual(of(2), [1, 2, 3]);
  // Where an acknowledgement took as long as it may, the delivery was repeated.
  for (const d of got) assert.ok(d.after >= (d.attempt - 1) * ACK, JSON.stringify(got));
  let letter;
  await until('the dead letter', async () => {
    const h = await server.api('history', { channel: 'dead:jobs', limit: 100 });
    letter = h.publications.find((p) => p.data.channel === channel)?.data;
    return letter;
  });
  assert.equal(letter.reason, 'attempts');
  assert.equal(letter.attempts, 3);
  assert.deepEqual(letter.data, { n: 2 });
  let info;
  await until('all is settled', async () => {
    info = await server.api('consumer_info', { consumer: 'w', channel });
    return info.pending === 0;
  });
  assert.deepEqual([info.counts.acked, info.counts.dead_lettered, info.counts.lost], [2, 1, 0]);
  client.disconnect();
}

/** device listens to a one-way stream, and acknowledges the second delivery by a request. */
async function device() {
  const channel = 'jobs:device';
  await server.api('consumer_create', { consumer: 'dev 1', channel, ack_timeout_ms: ACK });
  const url = server.http(`/connection/uni_sse?channel=${encodeURIComponent(`$consumers:dev 1~${channel}`)}`);
  const stop = new AbortController();
  const response = await fetch(url, { headers: { Accept: 'text/event-stream' }, signal: stop.signal });
  let text = '';
  (async () => { for await (const b of response.body) text += Buffer.from(b); })().catch(() => {});
  const deliveries = () => [...text.matchAll(/data: (.*"pub".*)/g)].map((m) => JSON.parse(m[1]).pub);
  await server.api('publish', { channel, data: { open: 'door' } });
  await until('two deliveries', () => deliveries().length >= 2);
  const pub = deliveries()[1];
  assert.deepEqual([pub.data, pub.tags['myelin-attempt']], [{ open: 'door' }, '2']);
  const answer = await fetch(server.http('/consumer/ack'), { method: 'POST', body: JSON.stringify({ ack: pub.tags['myelin-ack'] }) });
  assert.deepEqual([answer.status, await answer.json()], [200, { done: 1, stale: 0 }]);
  const bad = await fetch(server.http('/consumer/ack'), { method: 'POST', body: '{"ack":"forged"}' });
  assert.equal(bad.status, 400);
  assert.equal((await fetch(server.http('/consumer/ack'))).status, 405);
  stop.abort();
}

test('a client that comes back goes on where it was, by offsets, too', async () => {
  const channel = 'jobs:back';
  await server.api('consumer_create', { consumer: 'w', channel, ack_timeout_ms: 60000 });
  const client = await connect(transports[0], server);
  const got = [];
  let answering = false;
  const sub = await consume(client, 'w', channel, (ctx) => {
    got.push(`${ctx.data}#${ctx.tags['myelin-attempt']}`);
    if (answering) client.rpc('myelin.consumer.ack', { consumer: 'w', channel, offset: Number(ctx.tags['myelin-offset']) }).catch(() => {});
  });
  await server.api('publish', { channel, data: 'a' });
  await until('the first', () => got.length === 1);
  answering = true;
  const again = once(sub, 'subscribed');
  await server.api('disconnect', { client: client._client, disconnect: { code: 3000, reason: 'again' } });
  await again;
  await until('the second', () => got.length === 2);
  assert.deepEqual(got, ['a#1', 'a#2']);
  await until('the ack', async () => (await server.api('consumer_info', { consumer: 'w', channel })).counts.acked === 1);
  client.disconnect();
});

test('two share the work, and nobody else may have a part in it', async () => {
  const channel = 'jobs:shared';
  await server.api('consumer_create', { consumer: 'w', channel, ack_timeout_ms: 60000 });
  const a = await connect(transports[0], server);
  const b = await connect(transports[0], server);
  const got = { a: [], b: [] };
  // What comes goes to who has less to do, so nobody is done before both work.
  const done = [];
  const work = (of) => (ctx, ack) => {
    of.push(ctx.data);
    done.push(ack);
    if (got.a.length > 10 && got.b.length > 10) for (const say of done.splice(0)) say().catch(() => {});
  };
  await consume(a, 'w', channel, work(got.a));
  await consume(b, 'w', channel, work(got.b));
  await until('both sit there', async () => (await server.api('consumer_info', { consumer: 'w', channel })).seats === 2);
  await Promise.all(Array.from({ length: 100 }, (_, n) => server.api('publish', { channel, data: n })));
  await until('all', () => got.a.length + got.b.length >= 100);
  assert.deepEqual([...got.a, ...got.b].sort((x, y) => x - y), Array.from({ length: 100 }, (_, n) => n));
  assert.ok(got.a.length > 10 && got.b.length > 10, `a did ${got.a.length}, b ${got.b.length}`);
  await assert.rejects(a.rpc('myelin.consumer.ack', { ack: 'xyz' }), { code: 107 });
  await assert.rejects(a.rpc('myelin.consumer.ack', { consumer: 'w', channel, offset: 1000 }), { code: 107 });
  await assert.rejects(a.rpc('myelin.consumer.ack', { consumer: 'other', channel, offset: 1 }), { code: 1005 });
  await assert.rejects(a.rpc('myelin.consumer.create', { consumer: 'w', channel: 'private:x' }), { code: 103 });
  const capable = await connect(transports[0], server, {
    token: token({ sub: 'nurse', caps: [{ channels: ['$consumers:pager~private:*'], match: 'wildcard', allow: ['sub'] }] }),
  });
  await consume(capable, 'pager', 'private:ward', () => {});
  for (const c of [a, b, capable]) c.disconnect();
});

test('kill -9: what was acknowledged does not come again, all else does', { skip: !keeps(true) && 'nothing is kept' }, async () => {
  const channel = 'jobs:killed';
  const total = 300;
  await server.api('consumer_create', { consumer: 'w', channel, max_unacked: 50, ack_timeout_ms: 5000 });
  const client = await connect(transports[0], server);
  const acked = new Set(); // answered with yes
  const seen = new Set();
  const afterAck = [];
  await consume(client, 'w', channel, async (ctx, ack) => {
    if (acked.has(ctx.data)) afterAck.push(ctx.data);
    seen.add(ctx.data);
    try {
      await ack();
      acked.add(ctx.data);
    } catch { /* not known; it may come again */ }
  });
  let published = 0;
  const publish = (async () => {
    for (; published < total; published++) {
      for (;;) {
        try {
          await server.api('publish', { channel, data: published, idempotency_key: `n${published}` });
          break;
        } catch { await new Promise((r) => setTimeout(r, 20)); }
      }
    }
  })();
  for (const at of [60, 150, 240]) {
    await until(`${at} acknowledged`, () => acked.size >= at, 60000);
    await server.signal('SIGKILL');
    await server.run();
  }
  await publish;
  let info;
  await until('all settled', async () => {
    info = await insist(() => server.api('consumer_info', { consumer: 'w', channel }));
    return info.pending + info.behind === 0 && info.counts.acked >= total; // the last may not be taken yet
  }, 60000);
  assert.deepEqual(afterAck, [], 'delivered again although the ack was answered');
  assert.equal(seen.size, total);
  // One may be kept whose answer the kill took away, so acked may be smaller.
  assert.deepEqual([info.counts.acked, info.counts.lost, info.counts.dead_lettered], [total, 0, 0]);
  assert.ok(acked.size <= total && acked.size > total - 160, `${acked.size} answered`);
  client.disconnect();
});
