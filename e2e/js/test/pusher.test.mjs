// The Pusher door: npm pusher-js and laravel-echo as they are, and npm pusher
// as the application's server.
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { EventSource } from 'eventsource';
import Echo from 'laravel-echo';
import PusherServer from 'pusher';
import Pusher from 'pusher-js';
import { until } from '../lib/clients.mjs';
import { Relay } from '../lib/relay.mjs';
import { API_KEY, freePort, SECRET, Server, token } from '../lib/server.mjs';

const APP = { id: '42', key: 'an-app-key', secret: 'an-app-secret' };

const config = (port, ping = 25) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {anonymous: true, tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
client: {ping_interval: ${ping}s, pong_timeout: ${ping - 1}s}
pusher: {app_id: "${APP.id}", key: ${APP.key}, secret: ${APP.secret}, presence_members: 20}
namespaces:
  pusher: {history: {size: 100, ttl: 5m}, subscribe: [anonymous]}
  pusher-private:
    history: {size: 100, ttl: 5m}
    presence: true
    join_leave: true
    subscribe: [token]
    publish: [subscriber]
`;

let server;
let relay;
let backend; // signs for clients, as an application's server does
let app;
before(async () => {
  const port = await freePort();
  server = await Server.start({ port, config: config(port) });
  relay = await Relay.start(port);
  app = new PusherServer({ appId: APP.id, key: APP.key, secret: APP.secret, host: '127.0.0.1', port: `${port}`, useTLS: false });
  backend = createServer((req, res) => {
    let body = '';
    req.on('data', (b) => { body += b; });
    req.on('end', () => {
      const p = new URLSearchParams(body);
      const socket = p.get('socket_id');
      const user = req.headers['x-user'] ?? 'nobody';
      const say = (x) => res.end(JSON.stringify(x));
      if (req.url === '/user-auth') return say(app.authenticateUser(socket, { id: user, user_info: { name: user } }));
      const name = p.get('channel_name');
      if (name.includes('forged')) return say({ auth: `${APP.key}:${'0'.repeat(64)}` });
      const member = name.startsWith('presence-') ? { user_id: user, user_info: { name: user } } : undefined;
      return say(app.authorizeChannel(socket, name, member));
    });
  });
  await new Promise((r) => { backend.listen(0, '127.0.0.1', r); });
});
const clients = [];
after(async () => {
  for (const c of clients) c.disconnect();
  backend.close();
  backend.closeAllConnections();
  await relay.stop();
  await server.stop();
});

const options = (user, at) => ({
  cluster: '', wsHost: '127.0.0.1', wsPort: (at ?? server).port, forceTLS: false, enabledTransports: ['ws'],
  channelAuthorization: { endpoint: `http://127.0.0.1:${backend.address().port}/auth`, headers: { 'X-User': user } },
  userAuthentication: { endpoint: `http://127.0.0.1:${backend.address().port}/user-auth`, headers: { 'X-User': user } },
});

/** connect returns a client that is connected. */
async function connect(user = 'ann', at = undefined, key = APP.key) {
  const c = new Pusher(key, options(user, at));
  clients.push(c);
  if (key === APP.key) await until('connected', () => c.connection.state === 'connected');
  return c;
}

/** wait waits for one event of a channel. */
const wait = (ch, event) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no ${event} of ${ch.name}`)), 20000);
  const on = (data) => { clearTimeout(timer); ch.unbind(event, on); resolve(data ?? null); };
  ch.bind(event, on);
});

/** join subscribes and waits for it. */
async function join(c, name) {
  const ch = c.subscribe(name);
  if (!ch.subscribed) await wait(ch, 'pusher:subscription_succeeded');
  return ch;
}

/** heard collects the events of a channel that are not the protocol's. */
function heard(ch) {
  const all = [];
  ch.bind_global((event, data) => { if (!event.startsWith('pusher')) all.push([event, data]); });
  return all;
}

test('a public channel carries events as they were sent', async () => {
  const c = await connect();
  const got = heard(await join(c, 'orders'));
  const sent = [{ id: 1 }, 'just text', '123', [1, 'é'], null, 7, '"quoted"', ''];
  for (const data of sent) await app.trigger('orders', 'placed', data);
  await until('all', () => got.length === sent.length);
  // pusher-js reads what is JSON, so a text that looks like some is that.
  assert.deepEqual(got, [['placed', { id: 1 }], ['placed', 'just text'], ['placed', 123], ['placed', [1, 'é']],
    ['placed', null], ['placed', 7], ['placed', 'quoted'], ['placed', '']]);
  c.unsubscribe('orders');
});

test('one channel: SSE and the HTTP API see what Pusher sees', async () => {
  const c = await connect();
  const got = heard(await join(c, 'prices'));
  const es = new EventSource(server.http('/connection/uni_sse?channel=pusher:prices'));
  const pushes = [];
  es.onmessage = (m) => pushes.push(JSON.parse(m.data));
  await until('listening', () => pushes.length > 0);
  await app.trigger('prices', 'tick', { p: 1 });
  await server.api('publish', { channel: 'pusher:prices', data: { p: 2 }, tags: { event: 'tick' } });
  await until('both', () => got.length === 2 && pushes.filter((p) => p.pub).length === 2);
  assert.deepEqual(got, [['tick', { p: 1 }], ['tick', { p: 2 }]]);
  const first = pushes.find((p) => p.pub).pub;
  assert.deepEqual([first.data, first.tags], [{ p: 1 }, { event: 'tick' }]);
  es.close();
});

test('private channels want a signature', async () => {
  const c = await connect();
  const forged = c.subscribe('private-forged');
  const refused = await wait(forged, 'pusher:subscription_error');
  assert.equal(refused.status, 401);
  assert.equal(refused.type, 'AuthError');
  assert.equal(forged.subscribed, false);
  const got = heard(await join(c, 'private-orders'));
  await app.trigger(['private-orders', 'private-forged'], 'paid', { n: 1 });
  await until('paid', () => got.length === 1);
  // Nor do other doors let anybody in without a token.
  const r = await fetch(server.http('/connection/uni_sse?channel=pusher-private:private-orders'));
  assert.equal(r.status, 403);
  const mine = token({ sub: 'bob', channels: ['pusher-private:private-orders'] });
  const ok = await fetch(server.http(`/connection/uni_sse?channel=pusher-private:private-orders&token=${mine}`));
  assert.equal(ok.status, 200);
  await ok.body.cancel();
});

test('presence tells of users, not of connections', async () => {
  const a = await join(await connect('ann'), 'presence-room');
  assert.equal(a.members.count, 1);
  assert.equal(a.members.me.id, 'ann');
  const events = [];
  a.bind('pusher:member_added', (m) => events.push(`+${m.id} ${m.info.name}`));
  a.bind('pusher:member_removed', (m) => events.push(`-${m.id}`));
  const [bob1, bob2] = [await connect('bob'), await connect('bob')];
  const b = await join(bob1, 'presence-room');
  assert.deepEqual(Object.keys(b.members.members).sort(), ['ann', 'bob']);
  await join(bob2, 'presence-room');
  const users = async () => (await (await app.get({ path: '/channels/presence-room/users' })).json()).users.map((u) => u.id).sort();
  assert.deepEqual(await users(), ['ann', 'bob']);
  const about = await (await app.get({ path: '/channels/presence-room', params: { info: 'user_count,subscription_count' } })).json();
  assert.deepEqual(about, { occupied: true, user_count: 2, subscription_count: 3 });
  bob1.disconnect();
  const c = await connect('cid');
  await join(c, 'presence-room');
  c.unsubscribe('presence-room');
  await until('cid left', () => events.length === 3);
  bob2.disconnect();
  await until('all left', () => events.length === 4);
  assert.deepEqual(events, ['+bob bob', '+cid cid', '-cid', '-bob']);
  assert.deepEqual(await users(), ['ann']);
});

test('client events go to the others, with who sent them', async () => {
  const [c1, c2] = [await connect('ann'), await connect('bob')];
  const [a, b] = [await join(c1, 'presence-chat'), await join(c2, 'presence-chat')];
  const mine = heard(a);
  const theirs = [];
  b.bind('client-typing', (data, meta) => theirs.push([data, meta?.user_id]));
  a.trigger('client-typing', { on: true });
  await until('typing', () => theirs.length === 1);
  assert.deepEqual(theirs, [[{ on: true }, 'ann']]);
  assert.deepEqual(mine, []);
  // Public channels have none, and ten in a second are enough.
  const errors = [];
  c1.connection.bind('error', (e) => errors.push(e.data?.code ?? e.error?.data?.code));
  (await join(c1, 'open')).trigger('client-x', {});
  await until('refused', () => errors.length === 1);
  for (let n = 0; n < 40; n++) a.trigger('client-flood', { n });
  await until('refused too', () => errors.length > 5);
  assert.ok(errors.every((code) => code === 4301), `${errors}`);
});

test('cache channels begin with the last event', async () => {
  const c = await connect();
  const fresh = c.subscribe('cache-score');
  await wait(fresh, 'pusher:cache_miss');
  await app.trigger('cache-score', 'goal', { n: 1 });
  await app.trigger('cache-score', 'goal', { n: 2 });
  const late = (await connect()).subscribe('cache-score');
  assert.deepEqual(await wait(late, 'goal'), { n: 2 });
});

test('encrypted channels: only those with the key can read, and none can speak', async () => {
  const secret = new PusherServer({
    appId: APP.id, key: APP.key, secret: APP.secret, host: '127.0.0.1', port: `${server.port}`, useTLS: false,
    encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString('base64'),
  });
  const c = new Pusher(APP.key, {
    ...options('ann'),
    channelAuthorization: { customHandler: ({ socketId, channelName }, done) => done(null, secret.authorizeChannel(socketId, channelName)) },
  });
  clients.push(c);
  const got = heard(await join(c, 'private-encrypted-notes'));
  await secret.trigger('private-encrypted-notes', 'note', { text: 'hush' });
  await until('note', () => got.length === 1);
  assert.deepEqual(got, [['note', { text: 'hush' }]]);
  const kept = await server.api('history', { channel: 'pusher-private:private-encrypted-notes', limit: 1 });
  assert.deepEqual(Object.keys(kept.publications[0].data).sort(), ['ciphertext', 'nonce']);
  const errors = [];
  c.connection.bind('error', (e) => errors.push(e.data?.code ?? e.error?.data?.code));
  c.send_event('client-x', {}, 'private-encrypted-notes');
  await until('refused', () => errors.length === 1);
  assert.deepEqual(errors, [4301]);
});

test('a watchlist tells which users are online', async () => {
  const watcher = await connect('wanda');
  watcher.config.userAuthenticator = ({ socketId }, done) => done(null, app.authenticateUser(socketId, { id: 'wanda', watchlist: ['xeno', 'yuri'] }));
  const told = [];
  watcher.user.watchlist.bind('online', (e) => told.push(['online', e.user_ids]));
  watcher.user.watchlist.bind('offline', (e) => told.push(['offline', e.user_ids]));
  const signed = async (name) => {
    const c = await connect(name);
    c.signin();
    await until('signed in', () => c.user.serverToUserChannel?.subscribed);
    return c;
  };
  const xeno = await signed('xeno');
  watcher.signin();
  await until('xeno', () => told.length === 1);
  const yuri = await signed('yuri');
  await until('yuri', () => told.length === 2);
  xeno.disconnect();
  await until('xeno left', () => told.length === 3);
  assert.deepEqual(told, [['online', ['xeno']], ['online', ['yuri']], ['offline', ['xeno']]]);
  // What the server tells one of them is his alone; her own channel is hers.
  const hers = [];
  await until('her channel', () => watcher.user.serverToUserChannel?.subscribed);
  watcher.user.bind('note', (x) => hers.push(x));
  await app.sendToUser('yuri', 'note', { for: 'yuri' });
  await app.sendToUser('wanda', 'note', { for: 'wanda' });
  await until('hers', () => hers.length === 1);
  assert.deepEqual(hers, [{ for: 'wanda' }]);
  yuri.disconnect();
});

test('an event leaves out the socket it came from; batches, lists', async () => {
  const [c1, c2] = [await connect(), await connect()];
  const [one, two] = [heard(await join(c1, 'batch')), heard(await join(c2, 'batch'))];
  await app.trigger('batch', 'a', {}, { socket_id: c1.connection.socket_id });
  const r = await app.triggerBatch([{ channel: 'batch', name: 'b', data: 1 }, { channel: 'batch', name: 'c', data: 2, info: 'subscription_count' }]);
  assert.deepEqual((await r.json()).batch, [{}, { subscription_count: 2 }]);
  await until('all', () => one.length === 2 && two.length === 3);
  assert.deepEqual(one.map((e) => e[0]), ['b', 'c']);
  const list = await (await app.get({ path: '/channels', params: { filter_by_prefix: 'bat' } })).json();
  assert.deepEqual(list, { channels: { batch: {} } });
});

test('a user signs in, hears his own channel, and is sent away', async () => {
  const c = await connect('zoe');
  c.signin();
  await c.user.signinDonePromise;
  const got = [];
  c.user.bind('greeting', (x) => got.push(x));
  await until('subscribed', () => c.user.serverToUserChannel?.subscribed);
  await app.sendToUser('zoe', 'greeting', { hi: 1 });
  await until('greeting', () => got.length === 1);
  const gone = new Promise((resolve) => { c.connection.bind('error', (e) => resolve(e?.data?.code ?? e?.error?.data?.code)); });
  await app.terminateUserConnections('zoe');
  assert.equal(await gone, 4009);
  await until('stays away', () => c.connection.state === 'disconnected' || c.connection.state === 'failed');
});

test('it comes back by itself and subscribes again', async () => {
  const c = await connect('ann', relay);
  const got = heard(await join(c, 'private-steady'));
  let times = 0;
  c.channel('private-steady').bind('pusher:subscription_succeeded', () => { times++; });
  for (let n = 0; n < 3; n++) {
    relay.cut();
    await until('back', () => times > n, 30000);
    await app.trigger('private-steady', 'n', n);
    await until('event', () => got.length === n + 1);
  }
  assert.deepEqual(got.map((e) => e[1]), [0, 1, 2]);
});

test('a key that is not the application’s is refused with 4001', async () => {
  const c = await connect('ann', undefined, 'another-key');
  const code = await new Promise((resolve) => { c.connection.bind('error', (e) => resolve(e.error?.data?.code ?? e.data?.code)); });
  assert.equal(code, 4001);
  c.disconnect();
});

test('pings are answered both ways', async () => {
  const own = await Server.start({ config: (port) => config(port, 3) });
  try {
    const c = await connect('ann', own);
    const heard = [];
    const changes = [];
    c.connection.bind('message', (m) => heard.push(m.event));
    c.connection.bind('state_change', ({ current }) => changes.push(current));
    c.send_event('pusher:ping', {});
    // The server would close instead of pinging again, were it not answered.
    await until('it was pinged again', () => heard.includes('pusher:pong') && heard.filter((e) => e === 'pusher:ping').length >= 2);
    assert.deepEqual(changes, []);
    c.disconnect();
  } finally {
    await own.stop();
  }
});

test('laravel-echo: private, whisper, presence', async () => {
  const echo = (user) => new Echo({
    broadcaster: 'pusher', Pusher, key: APP.key, ...options(user),
    authEndpoint: `http://127.0.0.1:${backend.address().port}/auth`, auth: { headers: { 'X-User': user } }, withoutInterceptors: true,
  });
  const [ann, bob] = [echo('ann'), echo('bob')];
  const seen = { here: null, joined: [], left: [], whispers: [], events: [] };
  await new Promise((resolve) => {
    ann.join('den').here((all) => { seen.here = all; resolve(); })
      .joining((u) => seen.joined.push(u.name)).leaving((u) => seen.left.push(u.name))
      .listenForWhisper('typing', (x) => seen.whispers.push(x)).listen('.opened', (x) => seen.events.push(x));
  });
  const den = bob.join('den');
  await new Promise((resolve) => { den.here(resolve); });
  den.whisper('typing', { who: 'bob' });
  await app.trigger('presence-den', 'opened', { n: 1 });
  await until('all', () => seen.whispers.length === 1 && seen.events.length === 1);
  bob.leave('den');
  await until('left', () => seen.left.length === 1);
  assert.deepEqual(seen, { here: [{ name: 'ann' }], joined: ['bob'], left: ['bob'], whispers: [{ who: 'bob' }], events: [{ n: 1 }] });
  ann.disconnect();
  bob.disconnect();
});

test('the HTTP API wants its signature', async () => {
  const call = async (change = {}) => {
    const body = change.body ?? JSON.stringify({ name: 'x', channel: 'orders', data: '{}' });
    const q = {
      auth_key: APP.key, auth_timestamp: `${Math.floor(Date.now() / 1000)}`, auth_version: '1.0',
      body_md5: createHash('md5').update(body).digest('hex'), ...change.query,
    };
    const text = `POST\n/apps/${APP.id}/events\n${Object.keys(q).sort().map((k) => `${k}=${q[k]}`).join('&')}`;
    const signature = createHmac('sha256', change.secret ?? APP.secret).update(text).digest('hex');
    const r = await fetch(server.http(`/apps/${change.id ?? APP.id}/events?${new URLSearchParams({ ...q, auth_signature: signature, ...change.late })}`), { method: 'POST', body: change.sent ?? body });
    return r.status;
  };
  assert.equal(await call(), 200);
  assert.equal(await call({ secret: 'wrong' }), 401);
  assert.equal(await call({ sent: '{"name":"y","channel":"orders","data":"{}"}' }), 401);
  assert.equal(await call({ query: { auth_timestamp: `${Math.floor(Date.now() / 1000) - 601}` } }), 401);
  assert.equal(await call({ query: { auth_key: 'other' } }), 401);
  assert.equal(await call({ late: { extra: '1' } }), 401);
  assert.equal(await call({ id: '43' }), 404);
  assert.equal(await call({ body: '{}' }), 400);
  assert.equal(await call({ body: JSON.stringify({ name: 'x', channel: 'or ders', data: '{}' }) }), 400);
  assert.equal(await call({ body: JSON.stringify({ name: 'x', channel: 'orders', data: 'x'.repeat(70000) }) }), 413);
});
