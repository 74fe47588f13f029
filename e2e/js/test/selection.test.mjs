// What of a channel a client gets, and in which shape: filters of the client
// and of the token, patches, ids in place of names, batches. The clients are
// the npm ones, which ask for ids on their own.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { connect, once, transports, until } from '../lib/clients.mjs';
import { Relay } from '../lib/relay.mjs';
import { API_KEY, SECRET, Server, freePort, token } from '../lib/server.mjs';

let server;
let relay;
let operator;
before(async () => {
  const port = await freePort();
  const admin = await freePort();
  operator = `http://127.0.0.1:${admin}`;
  server = await Server.start({
    port,
    config: `
listen: 127.0.0.1:${port}
admin: {listen: "127.0.0.1:${admin}"}
auth: {anonymous: true, tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
limits: {filter_nodes: 16}
namespaces:
  f: {history: {size: 1000}, subscribe: [anonymous], publish: [anonymous], read_history: [anonymous]}
  d: {history: {size: 1000}, delta: true, join_leave: true, subscribe: [anonymous], publish: [anonymous]}
  e: {delta: true, subscribe: [anonymous], publish: [anonymous]}
  t: {history: {size: 1000}, subscribe: [token], read_history: [subscriber]}
  b: {history: {size: 1000}, subscribe: [anonymous], batch: {max_delay: 200ms}}
  s: {kind: state, history: {size: 1000}, subscribe: [anonymous], publish: [user]}
`,
  });
  relay = await Relay.start(server.port);
});
after(async () => {
  await relay.stop();
  await server.stop();
});

const slug = (t) => t.name.replaceAll(/\W+/g, '-');
const range = (n) => Array.from({ length: n }, (_, i) => i);
const publish = (channel, data, tags) => server.api('publish', { channel, data, tags });

/** metric returns the sum of a metric's values. */
async function metric(name, labels = '') {
  const text = await (await fetch(`${operator}/metrics`)).text();
  return text.split('\n').filter((l) => l.startsWith(name) && l.includes(labels))
    .reduce((sum, l) => sum + Number(l.split(' ').pop()), 0);
}

describe('a filter of the client, over cut connections', () => {
  for (const t of transports) {
    test(t.name, async () => {
      const ch = `f:${slug(t)}`;
      const c = await connect(t, relay);
      const tagsFilter = {
        op: 'and',
        nodes: [
          { key: 'kind', cmp: 'in', vals: ['alarm', 'warning'] },
          { op: 'not', nodes: [{ key: 'level', cmp: 'lt', val: '2.5' }] },
        ],
      };
      const sub = c.newSubscription(ch, { tagsFilter });
      const got = [];
      const recoveries = [];
      sub.on('publication', (p) => got.push(t.decode(p.data)));
      sub.on('subscribed', (e) => { if (e.wasRecovering) recoveries.push(e.recovered); });
      sub.subscribe();
      await sub.ready(20000);
      const want = [];
      let n = 0;
      const some = async (count) => {
        for (let i = 0; i < count; i++, n++) {
          const tags = { kind: ['alarm', 'warning', 'note'][n % 3], level: String((n % 7) / 1.4) };
          if (n % 3 < 2 && Number(tags.level) >= 2.5) want.push(n);
          await publish(ch, n, tags);
        }
      };
      for (let round = 0; round < 20; round++) {
        const back = once(sub, 'subscribed', 20000);
        const during = some(6);
        relay.cut();
        await Promise.all([during, back]);
        await some(round % 4);
      }
      await until(`all ${want.length}`, () => got.length >= want.length);
      assert.deepEqual(got, want);
      assert.ok(recoveries.length >= 20 && recoveries.every((r) => r), `${recoveries}`);
      c.disconnect();
    });
  }
});

describe('patches, over cut connections', () => {
  for (const t of transports) {
    test(t.name, async () => {
      const ch = `d:${slug(t)}`;
      const c = await connect(t, relay);
      const sub = c.newSubscription(ch, { delta: 'fossil' });
      const got = [];
      sub.on('publication', (p) => got.push(t.decode(p.data)));
      sub.subscribe();
      await sub.ready(20000);
      const want = [];
      const one = async () => {
        const n = want.length;
        const greetings = ['grüße', 'grüßä', '日本語', '日本誤', '😀😁', '😀😃'];
        want.push({ n, name: 'pump 7', text: greetings[n % 6], readings: range(20).map((i) => (i === n % 20 ? n : i * 1000)) });
        await publish(ch, want[n]);
      };
      for (let round = 0; round < 15; round++) {
        const back = once(sub, 'subscribed', 20000);
        for (let i = 0; i < 3; i++) await one();
        relay.cut();
        for (let i = 0; i < round % 4; i++) await one();
        await back;
      }
      for (let i = 0; i < 5; i++) await one();
      await until(`all ${want.length}`, () => got.length >= want.length);
      assert.deepEqual(got, want);
      const stats = sub.deltaStats();
      assert.ok(stats.numDeltaPayloads > want.length / 2, JSON.stringify(stats));
      assert.ok(stats.compressionRatio > 0.3, JSON.stringify(stats));
      c.disconnect();
    });
  }

  test('of a channel without history', async () => {
    const t = transports[0];
    const c = await connect(t, server);
    const sub = c.newSubscription('e:x', { delta: 'fossil' });
    const got = [];
    sub.on('publication', (p) => got.push(p.data));
    sub.subscribe();
    await sub.ready(20000);
    const want = range(10).map((n) => ({ n, ballast: 'x'.repeat(100) }));
    for (const w of want) await publish('e:x', w);
    await until('all', () => got.length === want.length);
    assert.deepEqual(got, want);
    assert.equal(sub.deltaStats().numDeltaPayloads, 9);
    assert.ok(await metric('myelin_delta_saved_bytes_total', 'namespace="e"') > 500);
    c.disconnect();
  });

  test('not with a filter', async () => {
    const c = raw();
    await c.ask({ connect: {} });
    const r = await c.ask({ subscribe: { channel: 'd:filtered', delta: 'fossil', tf: { key: 'a', cmp: 'ex' } } });
    assert.ok(r.subscribe && !r.subscribe.delta);
    const bad = await c.ask({ subscribe: { channel: 'd:other', delta: 'zip' } });
    assert.equal(bad.error.code, 107);
    c.close();
  });
});

/** raw speaks JSON on a WebSocket, to see what is really sent. */
function raw(at = server) {
  const ws = new WebSocket(at.ws('/connection/websocket'));
  const open = once(ws, 'open');
  const waiting = new Map();
  const pushes = [];
  const frames = [];
  let id = 0;
  ws.on('message', (b) => {
    frames.push(String(b));
    for (const line of String(b).split('\n')) {
      const r = JSON.parse(line);
      if (r.id) waiting.get(r.id)(r);
      else if (r.push) pushes.push(r.push);
      else ws.send('{}');
    }
  });
  return {
    pushes,
    frames,
    close: () => ws.close(),
    async ask(command) {
      await open;
      const mine = ++id;
      const answer = new Promise((resolve) => { waiting.set(mine, resolve); });
      ws.send(JSON.stringify({ id: mine, ...command }));
      return answer;
    },
  };
}

test('ids in place of names', async () => {
  const a = raw();
  const b = raw();
  await a.ask({ connect: {} });
  await b.ask({ connect: {} });
  const sub = { channel: 'd:ids', flag: 1, join_leave: true };
  const { subscribe: mine } = await a.ask({ subscribe: sub });
  assert.ok(mine.id > 0);
  const { subscribe: plain } = await b.ask({ subscribe: { ...sub, flag: 0 } });
  assert.equal(plain.id, undefined);
  await publish('d:ids', 1);
  await until('all', () => a.pushes.some((p) => p.pub) && b.pushes.some((p) => p.pub) && a.pushes.some((p) => p.join));
  for (const p of a.pushes) {
    assert.equal(p.id, mine.id);
    assert.equal(p.channel, undefined);
  }
  for (const p of b.pushes) {
    assert.equal(p.channel, 'd:ids');
    assert.equal(p.id, undefined);
  }
  a.close();
  b.close();
});

describe('a filter of the token', () => {
  const filter = { key: 'site', cmp: 'eq', val: 'a' };

  test('in a subscription token', async () => {
    const ch = 't:x';
    for (let i = 0; i < 4; i++) await publish(ch, `old ${i}`, { site: i % 2 ? 'b' : 'a' });
    for (const wish of [null, { key: 'site', cmp: 'ex' }, { key: 'site', cmp: 'eq', val: 'b' }]) {
      const c = await connect(transports[0], server, { token: token({ sub: 'ann' }) });
      const sub = c.newSubscription(ch, { token: token({ sub: 'ann', channel: ch, filter }), tagsFilter: wish, since: { offset: 0, epoch: '' } });
      const got = [];
      sub.on('publication', (p) => got.push(p.data));
      sub.subscribe();
      await sub.ready(20000);
      await publish(ch, 'new b', { site: 'b' });
      await publish(ch, 'new a', { site: 'a' });
      const { publications } = await sub.history({ limit: 100 });
      assert.ok(publications.length >= 3 && publications.every((p) => p.tags.site === 'a'));
      if (wish?.val === 'b') {
        assert.deepEqual(got, []);
      } else {
        await until('the last', () => got.at(-1) === 'new a');
        assert.ok(got.length >= 3 && got.every((d) => !/b|old [13]/.test(d)), `${got}`);
      }
      c.disconnect();
    }
  });

  test('in a connection token', async () => {
    const ch = 'f:claimed'; // where anybody else may read everything
    await publish(ch, 'old b', { site: 'b' });
    await publish(ch, 'old a', { site: 'a' });
    for (const claims of [
      { caps: [{ channels: ['f:*'], match: 'wildcard', allow: ['sub', 'hst'], filter }] },
      { subs: { [ch]: { filter } } },
    ]) {
      const c = await connect(transports[0], server, { token: token({ sub: 'ann', ...claims }) });
      const got = [];
      c.on('publication', (p) => got.push(p.data));
      if (claims.caps) {
        const sub = c.newSubscription(ch, { since: { offset: 0, epoch: '' } });
        sub.on('publication', (p) => got.push(p.data));
        sub.subscribe();
        await sub.ready(20000);
      }
      await publish(ch, 'new b', { site: 'b' });
      await publish(ch, 'new a', { site: 'a' });
      await until('the last', () => got.at(-1) === 'new a');
      assert.ok(got.every((d) => d.endsWith(' a')), `${got}`);
      for (const reverse of [true, false]) {
        const { publications } = await c.history(ch, { limit: 100, reverse });
        assert.ok(publications.length > 0 && publications.every((p) => p.tags.site === 'a'));
      }
      c.disconnect();
    }
  });

  test('that is malformed gives nothing', async () => {
    const c = raw();
    const closed = c.ask({ connect: { token: token({ sub: 'ann', subs: { 'f:x': { filter: { key: 'a', cmp: '?' } } } }) } });
    const r = await Promise.race([closed, new Promise((resolve) => { setTimeout(resolve, 500, 'closed'); })]);
    assert.ok(r === 'closed' || r.error);
    c.close();
  });
});

test('of a state channel, whose entries come in pages', async () => {
  const ch = 's:x';
  const set = (key, site, data) => server.api('state_set', { channel: ch, key, data, tags: { site } });
  for (let i = 0; i < 30; i++) await set(`k${i}`, i % 2 ? 'b' : 'a', i);
  const filter = { key: 'site', cmp: 'eq', val: 'a' };
  for (const how of ['token', 'client']) {
    const claims = { sub: 'ann', ...(how === 'token' && { caps: [{ channels: [ch], allow: ['sub', 'hst'], filter }] }) };
    const c = await connect(transports[0], server, { token: token(claims) });
    const sub = c.newMapSubscription(ch, { limit: 4, ...(how === 'client' && { tagsFilter: filter }) });
    const entries = new Map();
    sub.on('sync', (e) => { for (const p of e.entries) entries.set(p.key, p.data); });
    const ends = [];
    sub.on('update', (e) => { if (e.removed) ends.push(e); if (e.removed) entries.delete(e.key); else entries.set(e.key, e.data); });
    sub.subscribe();
    await sub.ready(20000);
    await set('new', 'b', 'b');
    const mover = await connect(transports[0], server, { token: token({ sub: 'bob' }) });
    await mover.rpc('myelin.state.set', { channel: ch, key: 'k0', data: 'a secret of b', tags: { site: 'b' } });
    mover.disconnect();
    await set('k1', 'a', 'come here');
    await until('what has come', () => entries.get('k1') === 'come here');
    assert.ok(!entries.has('k0'), 'what is of the other site now is shown no more');
    assert.deepEqual(ends.map((e) => e.key), ['k0']);
    assert.ok(!/secret|bob|"b"/.test(JSON.stringify(ends)), JSON.stringify(ends));
    await set('k1', 'b', 1);
    await set('k0', 'a', 0);
    await set('new too', 'a', how);
    await until('the last', () => entries.get('new too') === how);
    assert.deepEqual([...entries.keys()].sort(), [...range(15).map((i) => `k${2 * i}`), 'new too'].sort(), how);
    c.disconnect();
  }
});

test('filter bombs are refused and counted', async () => {
  const c = raw();
  await c.ask({ connect: {} });
  const before = await metric('myelin_limit_hits_total', 'limit="filter"');
  let deep = { cmp: 'ex' };
  for (let i = 0; i < 60; i++) deep = { op: 'not', nodes: [deep] };
  for (const tf of [
    { op: 'or', nodes: range(17).map(() => ({ cmp: 'ex' })) },
    { key: 'k', cmp: 'in', vals: range(2000).map(String) },
    { key: 'k', cmp: 'eq', val: 'x'.repeat(20000) },
    deep,
  ]) {
    const { error } = await c.ask({ subscribe: { channel: 'f:bomb', tf } });
    assert.equal(error.code, 107, JSON.stringify(error));
  }
  assert.equal(await metric('myelin_limit_hits_total', 'limit="filter"') - before, 4);
  const { error } = await c.ask({ subscribe: { channel: 'f:bomb', tf: { key: 'k', cmp: 'like', val: 'x' } } });
  assert.match(error.message, /want one of eq/);
  c.close();
});

test('SSE by query, which resumes', async () => {
  const ch = 'f:sse';
  const q = new URLSearchParams({ channel: ch, filter: JSON.stringify({ key: 'c', cmp: 'eq', val: 'red' }) });
  const es = new EventSource(relay.http(`/connection/uni_sse?${q}`));
  const got = [];
  es.onmessage = (m) => {
    const p = JSON.parse(m.data);
    if (p.pub) got.push(p.pub.data);
    for (const s of Object.values(p.connect?.subs ?? {})) got.push(...(s.publications ?? []).map((x) => x.data));
  };
  await until('connected', async () => (await server.api('channels', {})).channels[ch]);
  for (let i = 0; i < 10; i++) await publish(ch, i, { c: i % 2 ? 'red' : 'blue' });
  await until('half', () => got.length === 5);
  relay.cut();
  for (let i = 10; i < 20; i++) await publish(ch, i, { c: i % 2 ? 'red' : 'blue' });
  await until('all', () => got.length === 10, 15000);
  assert.deepEqual(got, range(20).filter((i) => i % 2));
  es.close();
  const bad = await fetch(server.http(`/connection/uni_sse?channel=${ch}&filter=%7B`));
  assert.equal(bad.status, 400);
});

test('batches join what comes within their delay', async () => {
  const writes = async (ch) => {
    const c = raw();
    await c.ask({ connect: {} });
    await c.ask({ subscribe: { channel: ch } });
    const first = await metric('myelin_hub_writes_total');
    for (let i = 0; i < 50; i++) await publish(ch, i);
    await until('all', () => c.pushes.length === 50);
    assert.deepEqual(c.pushes.map((p) => p.pub.data), range(50));
    c.close();
    return await metric('myelin_hub_writes_total') - first;
  };
  const alone = await writes('f:batch');
  const batched = await writes('b:batch');
  assert.ok(batched < alone / 2, `${alone} writes at once, ${batched} in batches`);
});
