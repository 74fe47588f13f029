// Hooks at the doors of other protocols: pusher-js and eventsource as they are,
// a Node http server as the application, the real binary.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { EventSource } from 'eventsource';
import PusherServer from 'pusher';
import Pusher from 'pusher-js';
import { PATIENCE, until } from '../lib/clients.mjs';
import { API_KEY, inSeconds, SECRET, Server, token } from '../lib/server.mjs';

const APP = { id: '7', key: 'hooked-key', secret: 'hooked-secret' };
const HUB = '/.well-known/mercure';

const config = (port, app) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
hooks:
  headers: [Cookie, User-Agent]
  connect: {url: "http://127.0.0.1:${app}/connect", timeout: 20s}
  refresh: {url: "http://127.0.0.1:${app}/refresh", timeout: 20s}
  subscribe: {url: "http://127.0.0.1:${app}/subscribe", timeout: 20s}
  publish: {url: "http://127.0.0.1:${app}/publish", timeout: 20s}
lifecycle: {events: [subscribed, unsubscribed]}
pusher: {app_id: "${APP.id}", key: ${APP.key}, secret: ${APP.secret}}
mercure: {enabled: true}
namespaces:
  pusher: {history: {size: 10}, hooks: [subscribe]}
  pusher-private: {history: {size: 10}, presence: true, join_leave: true, subscribe: [token], hooks: [publish]}
  mercure: {history: {size: 10}, hooks: [subscribe, publish]}
  mercure-private: {history: {size: 10}, subscribe: [token]}
`;

let server;
let backend;
let pusher;
let asked = [];
// How each hook is answered; a test changes it.
let answers = {};
before(async () => {
  backend = createServer((req, res) => {
    const parts = [];
    req.on('data', (b) => parts.push(b)).on('end', () => {
      const r = JSON.parse(Buffer.concat(parts));
      const name = req.url.slice(1);
      asked.push({ ...r, hook: name, cookie: req.headers.cookie });
      const answer = answers[name]?.(r, req) ?? { result: {} };
      res.setHeader('Content-Type', 'application/json').end(JSON.stringify(answer));
    });
  });
  backend.keepAliveTimeout = 0; // nothing is asked while its connection is being closed
  await new Promise((r) => { backend.listen(0, '127.0.0.1', r); });
  server = await Server.start({ config: (port) => config(port, backend.address().port) });
  pusher = new PusherServer({ appId: APP.id, key: APP.key, secret: APP.secret, host: '127.0.0.1', port: `${server.port}`, useTLS: false });
});
const clients = [];
const streams = [];
after(async () => {
  for (const c of clients) c.disconnect();
  for (const s of streams) s.close();
  await server.stop();
  backend.close();
  backend.closeAllConnections();
});

function client() {
  const c = new Pusher(APP.key, {
    cluster: '', wsHost: '127.0.0.1', wsPort: server.port, forceTLS: false, enabledTransports: ['ws'],
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => done(null, channelName.endsWith('unsigned') ? { auth: '' }
        : pusher.authorizeChannel(socketId, channelName, channelName.startsWith('presence-') ? { user_id: 'ann', user_info: {} } : undefined)),
    },
  });
  c.connection.bind('error', () => {});
  clients.push(c);
  return c;
}

/** once waits for one event of whatever has bind. */
const once = (of, event) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no ${event}`)), PATIENCE);
  const on = (data) => { clearTimeout(timer); of.unbind(event, on); resolve(data ?? null); };
  of.bind(event, on);
});

const hooks = (name) => asked.filter((a) => a.hook === name);

test('pusher-js: the application names the user, gives channels, decides about others', async () => {
  asked = [];
  answers = {
    connect: () => ({ result: { user: 'ann', channels: ['pusher:news', 'elsewhere:x'] } }),
    subscribe: (r) => (r.channel.endsWith('closed') ? { error: { code: 1403, message: 'closed today' } } : { result: {} }),
    publish: (r) => (r.data?.rude ? { error: { code: 1400, message: 'be kind' } } : { result: { data: { ...r.data, checked: true } } }),
  };
  const c = client();
  const early = [];
  c.bind('flash', (data) => early.push(data)); // before any channel is asked for
  await until('connected', () => c.connection.state === 'connected');
  const [first] = hooks('connect');
  assert.deepEqual([first.transport, first.protocol, first.name], ['websocket', 'pusher', 'js']);
  await pusher.trigger('news', 'flash', { n: 1 });
  await until('given', () => early.length === 1);
  await once(c.subscribe('news'), 'pusher:subscription_succeeded');
  await once(c.subscribe('open'), 'pusher:subscription_succeeded');
  const refused = await once(c.subscribe('closed'), 'pusher:subscription_error');
  assert.deepEqual(refused, { type: 'AuthError', error: 'closed today', status: 403 });
  assert.deepEqual(hooks('subscribe').map((a) => [a.channel, a.user]), [['pusher:open', 'ann'], ['pusher:closed', 'ann']]);

  const other = client();
  await until('connected', () => other.connection.state === 'connected');
  const [mine, theirs] = [c.subscribe('private-talk'), other.subscribe('private-talk')];
  await Promise.all([once(mine, 'pusher:subscription_succeeded'), once(theirs, 'pusher:subscription_succeeded')]);
  const heard = once(theirs, 'client-say');
  mine.trigger('client-say', { text: 'hi' });
  assert.deepEqual(await heard, { text: 'hi', checked: true });
  const errors = once(c.connection, 'error');
  mine.trigger('client-say', { rude: true });
  const e = await errors;
  assert.match(JSON.stringify(e), /be kind/);
  assert.equal(hooks('publish')[0].user, 'ann');
});

test('pusher-js: who may not connect stays away, or comes back, as the application says', async () => {
  answers = { connect: () => ({ disconnect: { code: 4501, reason: 'banned' } }) };
  const c = client();
  const e = await once(c.connection, 'error');
  assert.equal(e.error?.data?.code ?? e.data?.code, 4009);
  await until('stays away', () => ['disconnected', 'failed'].includes(c.connection.state));
  let times = 0;
  answers = { connect: () => (++times < 2 ? { disconnect: { code: 4001, reason: 'later' } } : { result: {} }) };
  const d = client();
  await until('came back', () => d.connection.state === 'connected');
  assert.equal(times, 2);
});

test('pusher-js: a connection that the application does not prolong ends, and comes back', async () => {
  asked = [];
  let times = 0;
  answers = {
    connect: () => { times++; return { result: { expire_at: times === 1 ? inSeconds(4) : 0 } }; },
    refresh: () => ({ result: { expired: true } }),
  };
  const c = client();
  await until('connected', () => c.connection.state === 'connected');
  await until('came back', () => times === 2 && c.connection.state === 'connected');
  assert.equal(hooks('refresh').length, 1);
});

test('the lifecycle tells of members of presence channels', async () => {
  answers = {};
  const c = client();
  const room = c.subscribe('presence-lounge');
  await once(room, 'pusher:subscription_succeeded');
  c.unsubscribe('presence-lounge');
  let told = [];
  await until('both are told', async () => {
    const { publications } = await server.api('history', { channel: '$lifecycle:events', limit: 1000 });
    told = publications.flatMap((p) => p.data.events).filter((e) => e.channel === 'pusher-private:presence-lounge');
    return told.length >= 2;
  });
  assert.deepEqual(told.map((e) => [e.event, e.user]), [['subscribed', 'ann'], ['unsubscribed', 'ann']]);
});

/** listen opens an EventSource with a cookie; it is open, or failed, when it returns. */
async function listen(query, headers = { Cookie: 's=1' }) {
  const got = { data: [], status: 0 };
  const es = new EventSource(server.http(`${HUB}?${query}`), {
    fetch: async (url, init) => {
      const r = await fetch(url, { ...init, headers: { ...init.headers, ...headers } });
      got.status = r.status;
      return r;
    },
  });
  streams.push(es);
  es.onmessage = (m) => got.data.push(m.data);
  await until('an answer', () => es.readyState === EventSource.OPEN || es.readyState === EventSource.CLOSED);
  return got;
}

async function publish(form) {
  const r = await fetch(server.http(HUB), {
    method: 'POST', headers: { Authorization: `Bearer ${token({ sub: 'writer', mercure: { publish: ['*'] } })}` }, body: new URLSearchParams(form),
  });
  return r.status;
}

test('EventSource: the application says who listens, to what else, and what is published', async () => {
  asked = [];
  answers = {
    connect: (r) => (r.channels?.includes('mercure:vip') ? { error: { code: 1403, message: 'not you' } } : { result: { user: 'ann', channels: ['mercure-private:inbox'] } }),
    subscribe: (r) => (r.channel.endsWith('closed') ? { error: { code: 1403, message: 'closed' } } : { result: {} }),
    publish: (r) => (r.data?.rude ? { error: { code: 1400, message: 'be kind' } } : { result: { data: { ...r.data, by: r.user } } }),
  };
  const l = await listen('topic=books');
  assert.equal(l.status, 200);
  const [first] = hooks('connect');
  assert.deepEqual([first.transport, first.protocol, first.channels, first.cookie], ['sse', 'mercure', ['mercure:books'], 's=1']);
  assert.equal((await listen('topic=vip')).status, 403);
  assert.equal((await listen('topic=closed')).status, 403);
  assert.equal(await publish({ topic: 'inbox', data: '"hush"', private: 'on' }), 200);
  assert.equal(await publish({ topic: 'books', data: '{"rude":true}' }), 403);
  assert.equal(await publish({ topic: 'books', data: '{"n":1}' }), 200);
  await until('both', () => l.data.length === 2);
  assert.deepEqual(l.data.map((d) => JSON.parse(d)), ['hush', { n: 1, by: 'writer' }]);
  // Whoever brings a token is not asked about.
  const before = hooks('connect').length;
  assert.equal((await listen('topic=books', { Authorization: `Bearer ${token({ mercure: { subscribe: ['*'] } })}` })).status, 200);
  assert.equal(hooks('connect').length, before);
});
