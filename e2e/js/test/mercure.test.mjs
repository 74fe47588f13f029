// The Mercure door: npm eventsource as it is, and fetch as a publisher.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { EventSource } from 'eventsource';
import { until } from '../lib/clients.mjs';
import { Relay } from '../lib/relay.mjs';
import { API_KEY, inSeconds, SECRET, Server, token } from '../lib/server.mjs';

const HUB = '/.well-known/mercure';

const config = (port) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth:
  anonymous: true
  allowed_origins: ["http://allowed.example"]
  tokens: {hmac_secret: ${SECRET}}
api: {key: ${API_KEY}}
drain: {grace: 0}
mercure: {enabled: true}
namespaces:
  mercure: {history: {size: 100, ttl: 5m}, subscribe: [anonymous], subscribe_patterns: [anonymous]}
  mercure-private: {history: {size: 100, ttl: 5m}, subscribe: [token], subscribe_patterns: [token]}
`;

let server;
let relay;
before(async () => {
  server = await Server.start({ config });
  relay = await Relay.start(server.port);
});
after(async () => {
  await relay.stop();
  await server.stop();
});

const publisher = token({ mercure: { publish: ['*'] } });

/** publish posts an update and returns its id. */
async function publish(topics, data, more = {}, jwt = publisher) {
  const form = new URLSearchParams({ data, ...more });
  for (const t of [topics].flat()) form.append('topic', t);
  const r = await fetch(server.http(HUB), { method: 'POST', headers: { Authorization: `Bearer ${jwt}` }, body: form });
  const text = await r.text();
  if (r.status !== 200) throw Object.assign(new Error(text), { status: r.status, challenge: r.headers.get('www-authenticate') });
  return text;
}

/** query makes the query of matchers, [name, value] each. */
const query = (...pairs) => new URLSearchParams(pairs).toString();

/** listen opens an EventSource; it is open when it returns. */
async function listen(at, q, headers = {}) {
  const seen = { responses: [] };
  const es = new EventSource(at.http(`${HUB}?${q}`), {
    fetch: async (url, init) => {
      const r = await fetch(url, { ...init, headers: { ...init.headers, ...headers } });
      seen.responses.push(r);
      return r;
    },
  });
  const got = { es, data: [], ids: [], types: [], ...seen, close: () => es.close() };
  const take = (m) => { got.data.push(m.data); got.ids.push(m.lastEventId); got.types.push(m.type); };
  es.onmessage = take;
  es.addEventListener('special', take);
  await until('open', () => es.readyState === EventSource.OPEN);
  return got;
}

const bearer = (claims) => ({ Authorization: `Bearer ${token(claims)}` });

test('an update reaches those who name its topic', async () => {
  const topic = 'https://example.com/books/1';
  const one = await listen(server, query(['topic', topic]));
  const two = await listen(server, query(['match', topic], ['match', 'another']));
  const id = await publish(topic, '{"title": "one"}');
  assert.match(id, /^#./);
  await publish('another', 'two\nlines', { type: 'special', retry: '1234' });
  await publish('nobody', 'asked');
  await until('all', () => one.data.length === 1 && two.data.length === 2);
  assert.deepEqual(one.data, ['{"title": "one"}']);
  assert.deepEqual(two.data, ['{"title": "one"}', 'two\nlines']);
  assert.deepEqual(two.types, ['message', 'special']);
  one.close();
  two.close();
});

test('templates, URL patterns and * select topics', async () => {
  const ways = {
    template: await listen(server, query(['topic', 'https://example.com/t/{id}'])),
    pattern: await listen(server, query(['matchURLPattern', 'https://example.com/t/:id'])),
    both: await listen(server, query(['topic', 'https://example.com/t/7'], ['topic', 'https://example.com/t/{id}'])),
    all: await listen(server, query(['topic', '*'])),
  };
  for (const t of ['https://example.com/t/7', 'https://example.com/t/7/reviews', 'https://example.org/t/7']) await publish(t, t);
  await until('all', () => ways.all.data.length === 3);
  for (const way of ['template', 'pattern', 'both']) assert.deepEqual(ways[way].data, ['https://example.com/t/7'], way);
  for (const w of Object.values(ways)) w.close();
});

test('private updates are for tokens that name them', async () => {
  const topic = 'https://example.com/secret/1';
  const q = query(['topic', topic]);
  const everybody = await listen(server, q);
  const some = await listen(server, q, bearer({ mercure: { subscribe: ['https://example.com/secret/{id}'] } }));
  const others = await listen(server, query(['topic', '*']), bearer({ mercure: { subscribe: ['https://example.com/other'] } }));
  const wide = await listen(server, query(['topic', '*']), bearer({ sub: 'ann', mercure: { subscribe: ['*'] } }));
  const details = await listen(server, q, {
    Authorization: `Bearer ${access({ authorization_details: [{ type: 'mercure', actions: ['subscribe'], topics: [{ match: 'https://example.com/secret/:id', matchType: 'URLPattern' }] }] })}`,
  });
  await publish(topic, 'hush', { private: 'on' });
  await publish(topic, 'loud');
  const sorted = (x) => [...x.data].sort();
  await until('loud', () => everybody.data.length === 1 && others.data.length === 1);
  await until('both', () => [some, wide, details].every((x) => x.data.length === 2));
  assert.deepEqual(everybody.data, ['loud']);
  assert.deepEqual(others.data, ['loud']);
  for (const x of [some, wide, details]) assert.deepEqual(sorted(x), ['hush', 'loud']);
  // Nor does another door tell.
  assert.equal((await fetch(server.http(`/connection/uni_sse?channel=mercure-private:${topic}`))).status, 403);
  for (const x of [everybody, some, others, wide, details]) x.close();
});

/** access is a token of revision 8. */
function access(claims, typ = 'at+jwt', exp = inSeconds(60)) {
  const b64 = (x) => Buffer.from(JSON.stringify(x)).toString('base64url');
  const text = `${b64({ alg: 'HS256', typ })}.${b64({ exp, ...claims })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

test('it resumes where it was, 10 cuts', async () => {
  const topics = ['https://example.com/r/a', 'https://example.com/r/b'];
  const l = await listen(relay, query(['topic', topics[0]], ['topic', topics[1]]), bearer({ mercure: { subscribe: ['*'] } }));
  // This client, unlike browsers, has no id before its first event.
  const want = ['first'];
  await publish(topics[0], 'first');
  await until('first', () => l.data.length === 1);
  for (let n = 0; n < 10; n++) {
    const responses = l.responses.length;
    relay.cut();
    for (const [i, t] of topics.entries()) {
      const data = `${n} ${i}`;
      await publish(t, data, n % 2 ? { private: 'on' } : {});
      want.push(data);
    }
    await until('back', () => l.responses.length > responses);
    await until('caught up', () => l.data.length >= want.length);
  }
  assert.deepEqual(l.data.slice().sort(), want.slice().sort());
  // Each came back whole, and says so.
  for (const r of l.responses.slice(1)) assert.match(r.headers.get('last-event-id'), /^#/);
  l.close();
});

test('the last event id, from the answer to a publish or the publisher’s own', async () => {
  const topic = 'https://example.com/since';
  const first = await publish(topic, 'one');
  await publish(topic, 'two', { id: 'urn:uuid:2' });
  await publish(topic, 'three');
  const since = async (id, header = {}) => {
    const l = await listen(server, query(['topic', topic], ...(id ? [['lastEventID', id]] : [])), header);
    await publish(topic, 'end', { type: 'special' });
    await until('end', () => l.types.includes('special'));
    l.close();
    return [l.responses[0].headers.get('last-event-id'), l.data.filter((d) => d !== 'end')];
  };
  assert.deepEqual(await since(first), [first, ['two', 'three']]);
  assert.deepEqual(await since('urn:uuid:2'), ['urn:uuid:2', ['three']]);
  assert.deepEqual(await since('earliest'), ['earliest', ['one', 'two', 'three']]);
  assert.deepEqual(await since('urn:uuid:none'), ['earliest', []]);
  assert.deepEqual(await since(''), [null, []]);
  assert.deepEqual(await since(first, { 'Last-Event-ID': 'urn:uuid:2' }), ['urn:uuid:2', ['three']]);
  // The same id publishes once.
  await publish('https://example.com/once', 'x', { id: 'urn:uuid:3' });
  await publish('https://example.com/once', 'x', { id: 'urn:uuid:3' });
  const l = await listen(server, query(['topic', 'https://example.com/once'], ['lastEventID', 'earliest']));
  await publish('https://example.com/once', 'end');
  await until('end', () => l.data.includes('end'));
  assert.deepEqual(l.data, ['x', 'end']);
  l.close();
});

test('an update with alternate topics comes once', async () => {
  const l = await listen(server, query(['topic', 'urn:a'], ['topic', 'urn:b'], ['topic', 'urn:c']));
  await publish(['urn:a', 'urn:b'], 'twice named');
  await publish('urn:c', 'end');
  await until('end', () => l.data.includes('end'));
  assert.deepEqual(l.data, ['twice named', 'end']);
  l.close();
});

test('one channel: SDK, SSE and HTTP API see what Mercure sees', async () => {
  const topic = 'https://example.com/shared';
  const l = await listen(server, query(['topic', topic]));
  const es = new EventSource(server.http(`/connection/uni_sse?channel=${encodeURIComponent(`mercure:${topic}`)}`));
  const pushes = [];
  es.onmessage = (m) => pushes.push(JSON.parse(m.data));
  await until('listening', () => pushes.length > 0);
  await publish(topic, '{"n":1}');
  await server.api('publish', { channel: `mercure:${topic}`, data: { n: 2 } });
  await until('both', () => l.data.length === 2 && pushes.filter((p) => p.pub).length === 2);
  assert.deepEqual(l.data, ['{"n":1}', '{"n":2}']);
  assert.deepEqual(pushes.filter((p) => p.pub).map((p) => p.pub.data), [{ n: 1 }, { n: 2 }]);
  l.close();
  es.close();
});

test('a stream ends when its token does', async () => {
  const exp = inSeconds(4);
  const r = await fetch(server.http(`${HUB}?topic=x`), { headers: bearer({ exp, mercure: { subscribe: ['*'] } }), signal: AbortSignal.timeout(20000) });
  assert.equal(r.status, 200);
  for await (const _ of r.body); // eslint-disable-line no-unused-vars
  assert.ok(Date.now() >= exp * 1000);
});

test('active subscriptions are told and listed to who may have them', async () => {
  const own = await Server.start({ config: (port) => config(port).replace('{enabled: true}', '{enabled: true, subscriptions: true}') });
  const all = `${HUB}/subscriptions`;
  const topic = 'https://example.com/seat/1';
  const watcher = bearer({ mercure: { subscribe: [`${all}{/type,match,who}`, all] } });
  const watch = await listen(own, query(['topic', `${all}/Exact/${encodeURIComponent(topic)}/{who}`]), watcher);
  const l = await listen(own, query(['topic', topic]), bearer({ sub: 'ann', mercure: { subscribe: [], payload: { seat: 1 } } }));
  await until('told', () => watch.data.length === 1);
  const told = JSON.parse(watch.data[0]);
  assert.deepEqual([told.type, told.matchType, told.match, told.active, told.payload], ['Subscription', 'Exact', topic, true, { seat: 1 }]);
  assert.match(told.subscriber, /^ann\//);
  const one = await fetch(own.http(told.id), { headers: watcher });
  assert.equal(one.headers.get('content-type'), 'application/ld+json');
  assert.deepEqual({ ...(await one.json()), lastEventID: undefined }, { ...told, lastEventID: undefined });
  const list = await (await fetch(own.http(all), { headers: watcher })).json();
  assert.equal(list.type, 'Subscriptions');
  assert.ok(list.subscriptions.some((s) => s.id === told.id));
  assert.equal((await fetch(own.http(all))).status, 401);
  assert.equal((await fetch(own.http(all), { headers: bearer({ mercure: { subscribe: [topic] } }) })).status, 403);
  l.close();
  await until('ended', () => watch.data.length === 2);
  assert.deepEqual(JSON.parse(watch.data[1]), { ...told, active: false });
  assert.equal((await fetch(own.http(told.id), { headers: watcher })).status, 404);
  watch.close();
  await own.stop();
});

test('cookies are for pages of allowed origins', async () => {
  const post = (headers) => fetch(server.http(HUB), { method: 'POST', headers, body: new URLSearchParams({ topic: 'urn:c', data: 'x' }) }).then((r) => r.status);
  for (const name of ['mercureAuthorization', 'mercureAccessToken']) {
    const Cookie = `${name}=${publisher}`;
    assert.equal(await post({ Cookie }), 403);
    assert.equal(await post({ Cookie, Origin: 'http://evil.example' }), 403);
    assert.equal(await post({ Cookie, Origin: 'http://allowed.example' }), 200);
    assert.equal(await post({ Cookie, Referer: 'http://allowed.example/page' }), 200);
    assert.equal(await post({ Cookie, Referer: 'http://evil.example/page' }), 403);
  }
  const r = await fetch(server.http(HUB), { method: 'OPTIONS', headers: { Origin: 'http://allowed.example' } });
  assert.match(r.headers.get('access-control-allow-headers'), /Authorization/);
});
