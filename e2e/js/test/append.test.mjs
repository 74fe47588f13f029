// Growing texts: what a language model writes, read live, late, and again after
// a cut, with unmodified clients and plain SSE.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { connect, transports, until } from '../lib/clients.mjs';
import { API_KEY, keeps, Server } from '../lib/server.mjs';

const config = (port, dir) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {anonymous: true}
api: {key: ${API_KEY}}
drain: {grace: 0}
engine: {disk: {path: ${dir}/data}}
namespaces:
  answers:
    kind: state
    history: {size: 50, ttl: 1h}
    subscribe: [anonymous]
    publish: [anonymous]
`;

let server;
before(async () => { server = await Server.start({ config }); });
after(() => server.stop());

const TOKENS = 'The quick "brown" 🦊 <b>jumps</b>\nover the lazy 🐕‍🦺, again and again. '.repeat(5).match(/.{1,4}/gsu);
const TEXT = TOKENS.join('');

/** writes appends all tokens through the HTTP API, each of them twice. */
async function writes(channel, key, { pause = 0, from = 0, to = TOKENS.length } = {}) {
  let at = TOKENS.slice(0, from).join('').length;
  for (const text of TOKENS.slice(from, to)) {
    for (let again = 0; again < 2; again++) {
      const r = await server.api('append', { channel, key, at, text });
      assert.deepEqual([r.length, r.duplicate], [at + text.length, again === 1]);
    }
    at += text.length;
    if (pause) await new Promise((r) => setTimeout(r, pause));
  }
  if (to === TOKENS.length) await server.api('append', { channel, key, at, done: true });
}

/** collect is all that a client has to do. */
const collect = (texts) => (d) => {
  texts[d.key] = (texts[d.key] ?? '').slice(0, d.at) + d.text;
  if (d.done) texts.done = true;
};

for (const t of transports) {
  test(`${t.name}: a text read live, by one who comes late, and over a cut`, async () => {
    const channel = `answers:${t.name.replace(/\W/g, '')}`;
    const readers = [];
    const read = async () => {
      const c = await connect(t, server);
      const texts = {};
      const sub = c.newSubscription(channel);
      const bytes = { n: 0 };
      sub.on('publication', (ctx) => { bytes.n += JSON.stringify(t.decode(ctx.data)).length; collect(texts)(t.decode(ctx.data)); });
      sub.subscribe();
      await sub.ready(20000);
      readers.push({ c, texts, bytes });
      return c;
    };
    await read();
    const writing = writes(channel, 'm1', { pause: 2 });
    await until('some of it', () => (readers[0].texts.m1 ?? '').length > 20);
    const late = await read();
    await until('more', () => (readers[1].texts.m1 ?? '').length > 60);
    await server.api('disconnect', { client: late._client, disconnect: { code: 3000, reason: 'a cut' } });
    await writing;
    await until('the end', () => readers.every((r) => r.texts.done));
    for (const r of readers) assert.equal(r.texts.m1, TEXT);
    assert.ok(readers[0].bytes.n < 60 * TOKENS.length + 2 * TEXT.length, `${readers[0].bytes.n} bytes for ${TEXT.length}`);
    for (const r of readers) r.c.disconnect();
  });
}

/** curl reads a stream until it is killed, and returns its events. */
function curl(channel, lastID) {
  const args = ['-sN', server.http(`/connection/uni_sse?channel=${channel}`)];
  if (lastID) args.push('-H', `Last-Event-ID: ${lastID}`);
  const p = spawn('curl', args);
  const out = { text: '', stop: () => p.kill('SIGKILL') };
  p.stdout.on('data', (b) => { out.text += b; });
  out.events = () => out.text.split('\n\n').slice(0, -1).map((e) => ({
    id: e.match(/^id: ?(.*)$/m)?.[1],
    data: JSON.parse(e.match(/^data: ?(.*)$/m)?.[1] ?? 'null'),
  }));
  /** apply brings texts to where the stream is and returns the last id. */
  out.apply = (texts) => {
    let last;
    for (const { id, data } of out.events()) {
      last = id ?? last;
      for (const sub of Object.values(data?.connect?.subs ?? {})) for (const p of sub.publications ?? []) collect(texts)(p.data);
      if (data?.pub) collect(texts)(data.pub.data);
    }
    return last;
  };
  return out;
}

test('curl reads tokens, is killed, and goes on with Last-Event-ID', async () => {
  const channel = 'answers:curl';
  await writes(channel, 'm1', { to: 5 }); // it comes late
  const texts = {};
  const first = curl(channel);
  await until('what there is', () => { const now = {}; first.apply(now); return (now.m1 ?? '').length > 0; });
  await writes(channel, 'm1', { from: 5, to: 12 });
  await until('more', () => { const now = {}; first.apply(now); return (now.m1 ?? '').length >= 40; });
  first.stop();
  const last = first.apply(texts);
  assert.ok(last && TEXT.startsWith(texts.m1) && texts.m1.length < TEXT.length);
  await writes(channel, 'm1', { from: 12, to: 30 });
  const second = curl(channel, last);
  await writes(channel, 'm1', { from: 30 });
  await until('the end', () => { const now = { ...texts }; second.apply(now); return now.done; });
  second.stop();
  second.apply(texts);
  assert.equal(texts.m1, TEXT);

  // One whose place is not kept any more gets the whole text, and so does one
  // after a restart.
  if (!keeps(true)) return;
  await server.signal('SIGKILL');
  await server.run();
  const third = curl(channel, last);
  const all = {};
  await until('the whole', () => { third.apply(all); return all.done; });
  third.stop();
  assert.equal(all.m1, TEXT);
});

test('who wants only what is newest, or entries, has the whole text as well', async () => {
  const channel = 'answers:rate';
  const c = await connect(transports[0], server);
  const d = await connect(transports[0], server);
  const rated = {};
  let parts = 0;
  const sub = c.newSubscription(channel, { data: { myelin: { rate: 2 } } });
  sub.on('publication', (ctx) => { parts++; collect(rated)(ctx.data); });
  sub.subscribe();
  await sub.ready(20000);
  await writes(channel, 'm1', { to: 10, pause: 2 });
  const entries = {};
  const map = d.newMapSubscription(channel);
  map.on('sync', (ctx) => { for (const e of ctx.entries) collect(entries)(e.data); });
  map.on('update', (ctx) => collect(entries)(ctx.data));
  map.subscribe();
  await map.ready(20000);
  await writes(channel, 'm1', { from: 10, pause: 2 });
  await until('the end', () => rated.done && entries.done);
  assert.equal(rated.m1, TEXT);
  assert.equal(entries.m1, TEXT);
  assert.ok(parts < TOKENS.length, `${parts} of ${TOKENS.length}: nothing was left out`);
  c.disconnect();
  d.disconnect();
});

test('a client writes, and what is wrong is refused', async () => {
  const channel = 'answers:own';
  const c = await connect(transports[0], server);
  const call = (r) => c.rpc('myelin.append', { channel, key: 'k', ...r }).then((a) => { const { offset, ...rest } = a.data; assert.ok(offset > 0); return rest; });
  assert.deepEqual(await call({ at: 0, text: 'one ' }), { length: 4, done: false, duplicate: false });
  assert.equal((await call({ at: 0, text: 'one ' })).duplicate, true);
  await assert.rejects(call({ at: 9, text: 'gap' }), { code: 1001 });
  await assert.rejects(call({ at: 0, text: 'another' }), { code: 1001 });
  await assert.rejects(call({ text: '' }), { code: 107 });
  await c.rpc('myelin.append', { channel, key: 'long', text: 'x'.repeat(40000) });
  await assert.rejects(c.rpc('myelin.append', { channel, key: 'long', text: 'x'.repeat(40000) }), { code: 106 });
  assert.deepEqual(await call({ at: 4, text: 'two', done: true }), { length: 7, done: true, duplicate: false });
  await assert.rejects(call({ text: 'three' }), { code: 1001 });
  c.disconnect();
});
