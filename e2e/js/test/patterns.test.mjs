// Patterns, by the unmodified npm client and by curl, on one node and on three.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { client, connect, once, transports, until } from '../lib/clients.mjs';
import { call, Cluster } from '../lib/cluster.mjs';
import { API_KEY, engine, freePort, SECRET, Server, token } from '../lib/server.mjs';

const namespaces = `
namespaces:
  sensors:
    history: {size: 100, ttl: 5m}
    subscribe: [anonymous]
    subscribe_patterns: [anonymous]
    publish: [anonymous]
  fleeting:
    subscribe: [anonymous]
    subscribe_patterns: [anonymous]
  wards:
    history: {size: 100, ttl: 5m}
    subscribe: [token]
    subscribe_patterns: [token]
  plain:
    subscribe: [anonymous]
`;
const common = `
admin: {listen: ""}
auth: {anonymous: true, tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
`;

/** on is the channel that a publication was on: this SDK shows it as a tag only. */
const on = (ctx) => ctx.tags?.$channel ?? ctx.channel;

/** follow subscribes and collects [channel, data] of what comes. */
function follow(t, c, pattern) {
  const sub = c.newSubscription(pattern);
  const got = [];
  sub.on('publication', (ctx) => got.push([on(ctx), t.decode(ctx.data)]));
  sub.subscribe();
  return { sub, got };
}

const json = transports[0];

describe('one node', () => {
  let server;
  before(async () => {
    const port = await freePort();
    server = await Server.start({ port, config: `listen: 127.0.0.1:${port}\n${common}${namespaces}` });
  });
  after(() => server.stop());
  const publish = (channel, data) => server.api('publish', { channel, data });

  for (const t of transports) {
    test(`${t.name}: a pattern brings what matches, with the channel it was published on`, async () => {
      const c = await connect(t, server);
      const temp = follow(t, c, 'sensors:*.temp');
      const all = follow(t, c, 'sensors:**');
      const live = follow(t, c, 'fleeting:*');
      for (const { sub } of [temp, all, live]) await sub.ready(20000);
      await publish('sensors:a.temp', 1);
      await publish('sensors:b.hum', 2);
      await publish('sensors:b.temp', 3);
      await publish('fleeting:x', 4);
      await until('all came', () => all.got.length >= 3 && temp.got.length >= 2 && live.got.length >= 1);
      // There is no order between channels.
      const sorted = ({ got }) => [...got].sort(([, x], [, y]) => x - y);
      assert.deepEqual(sorted(temp), [['sensors:a.temp', 1], ['sensors:b.temp', 3]]);
      assert.deepEqual(sorted(all), [['sensors:a.temp', 1], ['sensors:b.hum', 2], ['sensors:b.temp', 3]]);
      assert.deepEqual(live.got, [['fleeting:x', 4]]);
      c.disconnect();
    });
  }

  test('a channel of its own comes beside the pattern, and goes on without it', async () => {
    const c = await connect(json, server);
    const pattern = follow(json, c, 'sensors:*.own');
    const own = follow(json, c, 'sensors:a.own');
    await pattern.sub.ready(20000);
    const ctx = await own.sub.ready(20000).then(() => own.sub);
    assert.equal(ctx.state, 'subscribed');
    await publish('sensors:a.own', 1);
    await until('both', () => pattern.got.length === 1 && own.got.length === 1);
    pattern.sub.unsubscribe();
    await publish('sensors:a.own', 2);
    await until('own', () => own.got.length === 2);
    assert.equal(pattern.got.length, 1);
    c.disconnect();
  });

  test('a client that comes back gets what is new, and knows that it cannot recover', async () => {
    const c = client(json, server);
    const { sub, got } = follow(json, c, 'sensors:*.back');
    const how = [];
    sub.on('subscribed', (ctx) => how.push([ctx.recoverable, ctx.positioned]));
    c.connect();
    await sub.ready(20000);
    await publish('sensors:a.back', 1);
    await until('first', () => got.length === 1);
    c.disconnect();
    await publish('sensors:a.back', 2);
    c.connect();
    await until('back', () => how.length === 2);
    await publish('sensors:a.back', 3);
    await until('third', () => got.length === 2);
    assert.deepEqual(got.map(([, n]) => n), [1, 3]);
    assert.deepEqual(how, [[false, false], [false, false]]);
    c.disconnect();
  });

  test('of what matches a token lets through what it names', async () => {
    const wards = (sub, ...channels) => connect(json, server, {
      token: token({ sub, caps: [{ channels, match: 'wildcard', allow: ['sub'] }] }),
    });
    const nurse = await wards('nurse', 'wards:3:**');
    const doctor = await wards('doctor', 'wards:**');
    const one = follow(json, nurse, 'wards:3:*');
    const all = follow(json, doctor, 'wards:*:*');
    await one.sub.ready(20000);
    await all.sub.ready(20000);
    await publish('wards:3:a', 1);
    await publish('wards:4:a', 2);
    await publish('wards:3:b', 3);
    await until('all', () => all.got.length === 3 && one.got.length === 2);
    assert.deepEqual([...one.got].sort(([, x], [, y]) => x - y), [['wards:3:a', 1], ['wards:3:b', 3]]);
    const wide = nurse.newSubscription('wards:*:*');
    const denied = once(wide, 'unsubscribed');
    wide.subscribe();
    assert.equal((await denied).code, 103);
    for (const c of [nurse, doctor]) c.disconnect();
  });

  test('a subscription token for a pattern is a right to all of it', async () => {
    const c = await connect(json, server, { token: token({ sub: 'guest' }) });
    const sub = c.newSubscription('wards:*:x', { token: token({ sub: 'guest', channel: 'wards:*:x' }) });
    const got = [];
    sub.on('publication', (ctx) => got.push(on(ctx)));
    sub.subscribe();
    await sub.ready(20000);
    await publish('wards:9:x', 1);
    await until('it', () => got.length === 1);
    assert.deepEqual(got, ['wards:9:x']);
    c.disconnect();
  });

  test('what is no pattern is refused and says why', async () => {
    const c = await connect(json, server);
    for (const [pattern, code, words] of [
      ['sensors:a*', 107, 'whole segment'], ['sensors:**.a', 107, 'nothing may follow'], ['*:a', 107, 'names its namespace'],
      ['sensors:*.*.*.*.*', 106, 'at most 4'], [`sensors:${'a.'.repeat(20)}*`, 106, 'at most 12'], ['**', 108, 'no patterns'],
      ['wards:*', 103, 'patterns in namespace'],
    ]) {
      const sub = c.newSubscription(pattern);
      const end = once(sub, 'unsubscribed');
      sub.subscribe();
      const why = await end;
      assert.equal(why.code, code, pattern);
      assert.match(why.reason, new RegExp(words), pattern);
    }
    await assert.rejects(publish('sensors:*', 1), (e) => e.code === 107);
    // Where there are no patterns "*" is a character.
    const { sub, got } = follow(json, c, 'plain:*');
    await sub.ready(20000);
    await publish('plain:x', 1);
    await publish('plain:*', 2);
    await until('it', () => got.length === 1);
    assert.deepEqual(got, [['plain:*', 2]]);
    c.disconnect();
  });

  test('curl follows a pattern', async () => {
    const curl = spawn('curl', ['-sN', server.http('/connection/uni_sse?channel=sensors:*.sse')]);
    let text = '';
    curl.stdout.on('data', (b) => { text += b; });
    await until('connected', () => text.includes('"connect"'));
    await publish('sensors:a.sse', 1);
    await publish('sensors:b.sse', 2);
    await until('both', () => text.includes('sensors:a.sse') && text.includes('sensors:b.sse') && text.endsWith('\n\n'));
    curl.kill();
    const pubs = text.split('\n').filter((l) => l.startsWith('data:')).map((l) => JSON.parse(l.slice(5))).filter((p) => p.pub);
    assert.deepEqual(pubs.map((p) => [p.channel, p.pub.channel, p.pub.data]).sort(([, , x], [, , y]) => x - y), [
      ['sensors:*.sse', 'sensors:a.sse', 1], ['sensors:*.sse', 'sensors:b.sse', 2],
    ]);
  });

  test('the server subscribes a user to a pattern', async () => {
    const c = await connect(json, server, { token: token({ sub: 'watched' }) });
    const got = [];
    c.on('publication', (ctx) => got.push([on(ctx), ctx.data]));
    const subscribed = once(c, 'subscribed');
    await server.api('subscribe', { user: 'watched', channel: 'wards:*:pushed' });
    assert.equal((await subscribed).channel, 'wards:*:pushed');
    await publish('wards:1:pushed', 1);
    await until('it', () => got.length === 1);
    await server.api('unsubscribe', { user: 'watched', channel: 'wards:*:pushed' });
    await publish('wards:1:pushed', 2);
    await promisify(execFile)('sleep', ['0.2']);
    assert.equal(got.length, 1);
    c.disconnect();
  });
});

test('three nodes: whatever node it is published on', { skip: engine !== '' && 'a cluster has its own' }, async () => {
  const cluster = await Cluster.launch(({ dir, peers }) => {
    const file = join(dir, 'myelin.yaml');
    writeFileSync(file, `${common}cluster:
  secret: a-secret-of-the-nodes-in-a-test
  peers: [${peers.map((p) => `"127.0.0.1:${p}"`).join(', ')}]
${namespaces}`);
    return ['serve', '--config', file];
  });
  try {
    const at = (n) => ({ http: (p) => `http://127.0.0.1:${n.port}${p}`, ws: (p) => `ws://127.0.0.1:${n.port}${p}` });
    const c = await connect(json, at(cluster.nodes[0]));
    const kept = follow(json, c, 'sensors:*.temp');
    const live = follow(json, c, 'fleeting:**');
    const told = [];
    for (const { sub } of [kept, live]) sub.on('subscribing', (e) => told.push(e.code));
    await kept.sub.ready(20000);
    await live.sub.ready(20000);
    // What nothing keeps is missed until the other nodes know of the subscription.
    await until('all nodes reach it', async () => {
      for (const n of cluster.nodes) await call(n.port, 'publish', { channel: `fleeting:${n.name}`, data: 'ready' });
      return new Set(live.got.map(([ch]) => ch)).size === 3;
    });
    // Who is told that something may be missing (the nodes have just found each
    // other, the streams their leaders) begins anew, and so does the round.
    const round = async (first) => {
      const before = told.length;
      const want = [];
      for (let i = first; i < first + 30; i++) {
        const n = cluster.nodes[i % 3];
        await call(n.port, 'publish', { channel: `sensors:${i % 5}.temp`, data: i });
        await call(n.port, 'publish', { channel: `fleeting:a/${i % 5}`, data: i });
        want.push([`sensors:${i % 5}.temp`, i]);
      }
      const late = (list) => list.filter(([, d]) => d >= first);
      const came = () => late(kept.got).length >= 30 && late(live.got).length >= 30;
      await until('all came', () => came() || told.length > before);
      if (told.length > before) return false;
      // There is no order between channels.
      const sorted = (list) => [...list].sort(([x], [y]) => x.localeCompare(y));
      assert.deepEqual(sorted(late(kept.got)), sorted(want));
      assert.deepEqual(late(live.got).map(([, d]) => d).sort((x, y) => x - y), want.map(([, d]) => d));
      return true;
    };
    let rounds = 0;
    await until('a round in which nobody was told of a gap', async () => {
      for (const { sub } of [kept, live]) await sub.ready(20000);
      return round(30 * rounds++);
    }, 60000);
    c.disconnect();
  } finally {
    await cluster.stop();
  }
});
