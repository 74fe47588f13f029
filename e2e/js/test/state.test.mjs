// Keyed state, by map subscriptions of the unmodified npm client and by every
// other way: entries, then changes, with nothing missing and nothing twice.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import { client, connect, once, transports, until } from '../lib/clients.mjs';
import { Relay } from '../lib/relay.mjs';
import { API_KEY, keeps, SECRET, Server, token } from '../lib/server.mjs';

const config = (kept) => (port, dir) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {anonymous: true, tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
limits: {commands_per_second: 100000, command_burst: 200000}
${kept ? `engine: {disk: {path: ${dir}/data}}` : ''}
namespaces:
  board: {kind: state, state: {max_keys: 2000}, history: {size: 500}, subscribe: [anonymous], publish: [anonymous]}
  score: {kind: state, state: {order: score}, subscribe: [anonymous], publish: [anonymous]}
  tagged: {kind: state, state: {tag_keys: true}, subscribe: [anonymous], publish: [anonymous]}
  own: {kind: state, state: {keys: own}, subscribe: [user], publish: [user]}
  room: {presence: true, subscribe: [anonymous], read_presence: [anonymous]}
`;

let server;
let relay;
before(async () => {
  server = await Server.start({ config: config(false) });
  relay = await Relay.start(server.port);
});
after(async () => {
  await relay.stop();
  await server.stop();
});

/** Mirror keeps what a map subscription says. */
class Mirror {
  constructor(sub, decode = (x) => x) {
    this.sub = sub;
    this.entries = new Map();
    this.syncs = 0;
    this.recoveries = 0;
    sub.on('sync', (ctx) => {
      this.syncs++;
      this.entries = new Map(ctx.entries.map((e) => [e.key, decode(e.data)]));
    });
    sub.on('update', (u) => {
      if (u.removed) this.entries.delete(u.key);
      else this.entries.set(u.key, decode(u.data));
    });
    sub.on('subscribed', (ctx) => { if (ctx.recovered) this.recoveries++; });
    sub.subscribe();
  }

  get object() { return Object.fromEntries([...this.entries].sort()); }
}

const equal = async (a, b, what) => {
  await until(what, () => JSON.stringify(a.object) === JSON.stringify(b.object)).catch(() => {});
  assert.deepEqual(a.object, b.object, what);
};

for (const t of transports) {
  test(`two map subscribers: ${t.name}`, async () => {
    const ch = `board:${t.name.replaceAll(/\W+/g, '-')}`;
    const a = await connect(t, server);
    const b = await connect(t, server);
    const ma = new Mirror(a.newMapSubscription(ch), t.decode);
    await ma.sub.ready(20000);
    assert.equal(ma.syncs, 1, 'an empty channel says that it is synced');
    await ma.sub.publish('x', t.encode({ n: 1 }));
    await ma.sub.publish('y', t.encode({ n: 2 }));
    await ma.sub.publish('x', t.encode({ n: 3 }));
    const mb = new Mirror(b.newMapSubscription(ch), t.decode);
    await mb.sub.ready(20000);
    assert.deepEqual(mb.object, { x: { n: 3 }, y: { n: 2 } });
    await mb.sub.remove('y');
    await mb.sub.publish('z', t.encode('text'));
    await until('both know', () => ma.entries.has('z') && mb.entries.has('z'));
    assert.deepEqual(ma.object, { x: { n: 3 }, z: 'text' });
    await equal(ma, mb, 'the same');
    a.disconnect();
    b.disconnect();
  });
}

test('pages, while others write', async () => {
  const ch = 'board:pages';
  const w = await connect(transports[0], server, { timeout: 30000 }); // a slow disk takes its time for 900
  const first = new Mirror(w.newMapSubscription(ch));
  await first.sub.ready(20000);
  for (let i = 0; i < 900; i++) first.sub.publish(`k${i}`, i);
  await until('all are there', () => first.entries.size === 900, 30000);
  let busy = true;
  const writing = (async () => {
    for (let i = 0; busy; i++) {
      const key = `k${(i * 7) % 1000}`;
      await (i % 3 ? first.sub.publish(key, -i) : first.sub.remove(key));
    }
  })();
  const readers = [];
  for (const pageSize of [0, 1000, 50, 100, 333]) {
    const c = await connect(transports[0], server);
    const m = new Mirror(c.newMapSubscription(ch, pageSize ? { pageSize } : {}));
    await m.sub.ready(20000);
    readers.push([c, m]);
  }
  busy = false;
  await writing;
  await first.sub.publish('last', 0);
  for (const [c, m] of readers) {
    await until('the last change', () => m.entries.has('last') && first.entries.has('last'));
    await equal(m, first, 'a reader of pages');
    assert.equal(m.syncs, 1);
    c.disconnect();
  }
  w.disconnect();
});

test('connections are cut while others write', async () => {
  const ch = 'board:cut';
  const w = await connect(transports[0], server, { timeout: 30000 });
  const first = new Mirror(w.newMapSubscription(ch));
  await first.sub.ready(20000);
  const c = await connect(transports[0], relay);
  const m = new Mirror(c.newMapSubscription(ch, { minResubscribeDelay: 5, maxResubscribeDelay: 20 }));
  await m.sub.ready(20000);
  for (let round = 0; round < 25; round++) {
    // Every fifth time it stays away until more has changed than is kept: the
    // entries come anew.
    const long = round % 5 === 4;
    const changes = long ? 600 : 20;
    if (long) {
      c.disconnect();
    } else {
      const gone = once(c, 'connecting');
      relay.cut();
      await gone;
    }
    for (let i = 0; i < changes; i++) {
      const key = `k${(i * 3 + round) % 60}`;
      const done = i % 4 === 3 ? first.sub.remove(key) : first.sub.publish(key, `${round}.${i}`);
      if (i % 100 === 99 || i === changes - 1) await done;
    }
    if (long) c.connect();
    await c.ready(20000);
    await m.sub.ready(20000);
    await first.sub.publish('last', round);
    await until('the last change', () => m.entries.get('last') === round && first.entries.get('last') === round);
    await equal(m, first, `round ${round}`);
  }
  assert.ok(m.recoveries >= 15, `${m.recoveries} of 25 recovered`);
  assert.ok(m.syncs >= 4, `${m.syncs} snapshots`);
  c.disconnect();
  w.disconnect();
});

test('by score', async () => {
  const c = await connect(transports[0], server);
  for (const [key, score] of [['a', 3], ['b', 9], ['c', -1], ['d', 5]]) {
    await c.rpc('myelin.state.set', { channel: 'score:x', key, data: score, score });
  }
  const sub = c.newMapSubscription('score:x', { pageSize: 2 });
  const synced = once(sub, 'sync');
  sub.subscribe();
  assert.deepEqual((await synced).entries.map((e) => e.key), ['b', 'd', 'a', 'c']);
  const top = await c.rpc('myelin.state.list', { channel: 'score:x', order: 'score', limit: 3 });
  assert.deepEqual(top.data.entries.map((e) => [e.key, e.score]), [['b', 9], ['d', 5], ['a', 3]]);
  const rest = await c.rpc('myelin.state.list', { channel: 'score:x', order: 'score', limit: 3, cursor: top.data.cursor });
  assert.deepEqual(rest.data.entries.map((e) => e.key), ['c']);
  assert.equal(rest.data.cursor, '');
  c.disconnect();
});

describe('other ways', () => {
  test('rpc: conditions, lifetimes and what is refused', async () => {
    const c = await connect(transports[0], server);
    const rpc = async (verb, params) => (await c.rpc(`myelin.state.${verb}`, { channel: 'board:rpc', ...params })).data;
    const refused = (verb, params, code) => assert.rejects(rpc(verb, params), (e) => e.code === code || assert.fail(JSON.stringify(e)));
    const one = await rpc('set', { key: 'k', data: { v: 1 }, if: 'new' });
    await refused('set', { key: 'k', data: 1, if: 'new' }, 1001);
    await refused('set', { key: 'none', data: 1, if: 'exists' }, 1001);
    await refused('set', { key: 'k', data: 1, offset: one.offset + 5 }, 1001);
    const two = await rpc('set', { key: 'k', data: { v: 2 }, offset: one.offset });
    const got = await rpc('get', { key: 'k' });
    assert.equal(got.entry.offset, two.offset);
    assert.deepEqual(got.entry.data, { v: 2 });
    assert.equal((await rpc('get', { key: 'none' })).entry, null);
    await rpc('set', { key: 'brief', data: 1, ttl_ms: 300 });
    await until('it ends', async () => !(await rpc('get', { key: 'brief' })).entry);
    await rpc('remove', { key: 'k', offset: two.offset });
    assert.deepEqual((await rpc('list', {})).entries, []);
    await refused('set', { key: '', data: 1 }, 107);
    await refused('set', { key: 'x'.repeat(256), data: 1 }, 1004);
    await refused('set', { key: 'k', data: 1, unless: 1 }, 107);
    await refused('set', { key: 'k', data: 1, while: 'subscribed' }, 1005);
    await refused('list', { cursor: '../../etc' }, 107);
    await refused('set', { channel: 'room:x', key: 'k', data: 1 }, 108);
    c.disconnect();
  });

  test('an entry leaves with its session', async () => {
    const w = await connect(transports[0], server);
    const m = new Mirror(w.newMapSubscription('board:leave'));
    await m.sub.ready(20000);
    const c = await connect(transports[0], server);
    const sub = c.newMapSubscription('board:leave');
    sub.subscribe();
    await sub.ready(20000);
    await c.rpc('myelin.state.set', { channel: 'board:leave', key: 'cursor', data: [1, 2], while: 'subscribed' });
    await until('it is there', () => m.entries.has('cursor'));
    c.disconnect();
    await until('it is gone', () => !m.entries.has('cursor'));
    w.disconnect();
  });

  test('keys of one\'s own', async () => {
    const c = await connect(transports[0], server, { token: token({ sub: 'ann' }) });
    await c.rpc('myelin.state.set', { channel: 'own:x', key: 'ann:1', data: 1 });
    await assert.rejects(c.rpc('myelin.state.set', { channel: 'own:x', key: 'bob', data: 1 }), (e) => e.code === 103);
    c.disconnect();
  });

  test('a plain subscription and one-way SSE get the entries, then the changes', async () => {
    const ch = 'tagged:http';
    for (const [key, data] of [['a', 1], ['b', 2]]) await server.api('state_set', { channel: ch, key, data });
    await server.api('state_remove', { channel: ch, key: 'a' });
    await assert.rejects(server.api('state_set', { channel: ch, key: 'b', data: 1, if: 'new' }), (e) => e.code === 1001);
    const c = await connect(transports[0], server);
    const sub = c.newSubscription(ch);
    const heard = [];
    sub.on('publication', (p) => heard.push([p.tags.$key, p.data ?? null, p.tags.$removed]));
    sub.subscribe();
    await sub.ready(20000);
    const es = new EventSource(server.http('/connection/uni_sse?channel=tagged:http'));
    const lines = [];
    es.onmessage = (e) => lines.push(JSON.parse(e.data));
    await until('the stream begins', () => lines.length > 0);
    assert.deepEqual(lines[0].connect.subs[ch].publications.map((p) => [p.key, p.data]), [['b', 2]]);
    await server.api('state_set', { channel: ch, key: 'c', data: 3 });
    await server.api('state_set', { channel: ch, key: 'brief', data: 4, ttl_ms: 200 });
    await server.api('state_remove', { channel: ch, key: 'b' });
    await until('changes', () => heard.length === 5 && lines.length === 5);
    const brief = heard.find((h) => h[0] === 'brief' && h[2]);
    assert.ok(brief, 'the end of an entry is told');
    assert.deepEqual(heard.filter((h) => h !== brief), [['b', 2, undefined], ['c', 3, undefined], ['brief', 4, undefined], ['b', null, 'true']]);
    assert.equal(lines[1].pub.key, 'c');
    assert.ok(lines.some((l) => l.pub?.key === 'b' && l.pub.removed));
    const list = await server.api('state_list', { channel: ch });
    assert.deepEqual(list.entries.map((e) => [e.key, e.data]), [['c', 3]]);
    assert.equal((await server.api('state_get', { channel: ch, key: 'c' })).entry.data, 3);
    es.close();
    c.disconnect();
  });
});

test('presence maps', async () => {
  const w = await connect(transports[0], server);
  const clients = new Mirror(w.newMapClientsSubscription('$clients:room:a'));
  const users = new Mirror(w.newMapUsersSubscription('$users:room:a'));
  await clients.sub.ready(20000);
  await users.sub.ready(20000);
  assert.equal(clients.syncs, 1);
  const join = async (user) => {
    const c = await connect(transports[0], server, { token: token({ sub: user }) });
    const sub = c.newSubscription('room:a');
    sub.subscribe();
    await sub.ready(20000);
    return c;
  };
  const a1 = await join('ann');
  const a2 = await join('ann');
  const b = await join('bob');
  await until('three clients, two users', () => clients.entries.size === 3 && users.entries.get('ann')?.clients === 2 && users.entries.size === 2);
  const p = await connect(transports[1], server);
  const late = new Mirror(p.newMapClientsSubscription('$clients:room:a'), transports[1].decode);
  await late.sub.ready(20000);
  assert.equal(late.entries.size, 3);
  a1.disconnect();
  b.disconnect();
  await until('one client, one user', () => clients.entries.size === 1 && late.entries.size === 1 && users.entries.size === 1);
  assert.deepEqual(users.object, { ann: { clients: 1 } });
  for (const c of [a2, w, p]) c.disconnect();
});

test('kill -9 loses nothing that was acknowledged', { skip: !keeps(true) && 'nothing is kept' }, async () => {
  const s = await Server.start({ config: config(true) });
  try {
    const w = await connect(transports[0], s);
    const m = new Mirror(w.newMapSubscription('board:kill', { minResubscribeDelay: 5, maxResubscribeDelay: 20 }));
    await m.sub.ready(20000);
    const acknowledged = new Map();
    for (let round = 0; round < 3; round++) {
      const many = [];
      for (let i = 0; i < 100; i++) {
        const key = `k${i % 40}`;
        many.push(m.sub.publish(key, `${round}.${i}`).then(() => acknowledged.set(key, `${round}.${i}`)));
      }
      await Promise.all(many);
      const gone = once(w, 'connecting');
      await s.signal('SIGKILL');
      await gone;
      await s.run();
      await w.ready(20000);
      await m.sub.ready(20000);
      const c = await connect(transports[0], s);
      const late = new Mirror(c.newMapSubscription('board:kill'));
      await late.sub.ready(20000);
      assert.deepEqual(late.object, Object.fromEntries([...acknowledged].sort()));
      await equal(m, late, `round ${round}`);
      c.disconnect();
    }
    w.disconnect();
  } finally {
    await s.stop();
  }
});
