// Acknowledged consumers with unmodified clients, over restarts and kill -9.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { connect, once, transports, until } from '../lib/clients.mjs';
import { API_KEY, keeps, SECRET, Server, token } from '../lib/server.mjs';

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
    consumers: {clients: any, ack_timeout: 500ms, max_attempts: 3, dead_letter: "dead:jobs"}
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
  await sub.ready(10000);
  return sub;
}

for (const t of transports) {
  test(`${t.name}: what is not acknowledged comes again, at last as a dead letter`, async () => {
    const channel = `jobs:${t.name.replace(/\W/g, '')}`;
    const client = await connect(t, server);
    const got = [];
    const ack = (tag) => client.rpc('myelin.consumer.ack', t.encode({ ack: tag })).catch(() => {});
    const sub = client.newSubscription(`$consumers:w~${channel}`);
    sub.on('publication', (ctx) => {
      got.push([t.decode(ctx.data).n, Number(ctx.tags['myelin-attempt'])]);
      if (t.decode(ctx.data).n !== 2) ack(ctx.tags['myelin-ack']);
    });
    sub.subscribe();
    await sub.ready(10000);
    for (const n of [1, 2, 3]) await server.api('publish', { channel, data: { n } });
    await until('the third attempt', () => got.length >= 5);
    assert.deepEqual(got, [[1, 1], [2, 1], [3, 1], [2, 2], [2, 3]]);
    let letter;
    await until('the dead letter', async () => {
      const h = await server.api('history', { channel: 'dead:jobs', limit: 100 });
      letter = h.publications.find((p) => p.data.channel === channel)?.data;
      return letter;
    });
    assert.equal(letter.reason, 'attempts');
    assert.equal(letter.attempts, 3);
    assert.deepEqual(letter.data, { n: 2 });
    const info = await server.api('consumer_info', { consumer: 'w', channel });
    assert.equal(info.pending, 0);
    assert.deepEqual([info.counts.acked, info.counts.dead_lettered, info.counts.lost], [2, 1, 0]);
    client.disconnect();
  });
}

test('a client that comes back goes on where it was, by offsets, too', async () => {
  const channel = 'jobs:back';
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
  await consume(a, 'w', channel, (ctx, ack) => { got.a.push(ctx.data); ack().catch(() => {}); });
  await consume(b, 'w', channel, (ctx, ack) => { got.b.push(ctx.data); ack().catch(() => {}); });
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

test('a device with a one-way stream acknowledges by a plain request', async () => {
  const channel = 'jobs:device';
  await server.api('consumer_create', { consumer: 'dev 1', channel, ack_timeout_ms: 600 });
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
});

test('kill -9: what was acknowledged does not come again, all else does', { skip: !keeps(true) && 'nothing is kept' }, async () => {
  const channel = 'jobs:killed';
  const total = 300;
  await server.api('consumer_create', { consumer: 'w', channel, max_unacked: 50, ack_timeout_ms: 2000 });
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
    await until(`${at} acknowledged`, () => acked.size >= at, 20000);
    await server.signal('SIGKILL');
    await server.run();
  }
  await publish;
  let info;
  await until('all settled', async () => {
    info = await server.api('consumer_info', { consumer: 'w', channel });
    return info.pending + info.behind === 0 && info.counts.acked >= total; // the last may not be taken yet
  }, 20000);
  assert.deepEqual(afterAck, [], 'delivered again although the ack was answered');
  assert.equal(seen.size, total);
  // One may be kept whose answer the kill took away, so acked may be smaller.
  assert.deepEqual([info.counts.acked, info.counts.lost, info.counts.dead_lettered], [total, 0, 0]);
  assert.ok(acked.size <= total && acked.size > total - 160, `${acked.size} answered`);
  client.disconnect();
});
