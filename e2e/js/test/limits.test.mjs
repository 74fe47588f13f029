// Rates, quotas and who is kept out, with the unmodified npm client.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { client as newClient, once, transports, until } from '../lib/clients.mjs';
import { Cluster } from '../lib/cluster.mjs';
import { API_KEY, SECRET, Server, inSeconds, token } from '../lib/server.mjs';

const [websocket] = transports;
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

const config = (port, dir) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth:
  tokens: {hmac_secret: ${SECRET}}
  block: {users: [mallory]}
trusted_proxies: [127.0.0.1]
api: {key: ${API_KEY}}
engine: {disk: {path: ${dir}/data}}
drain: {grace: 0}
limits:
  per_user: {connections: 3, publish_per_second: 40}
namespaces:
  plain: {publish: [user]}
  paced: {publish: [user], rate: {publish: 20, burst: 10}}
  slow: {publish: [user], rate: {user_publish: 1, per: 10s}}
  small: {publish: [user], message: 1KiB}
  private: {subscribe: [token]}
`;

let server;
before(async () => {
  server = await Server.start({ config });
});
after(async () => {
  // Those that were not sent away for good would try to come back for ever.
  for (const c of clients) c.disconnect();
  await server.stop();
});

const clients = [];

/** client returns a client that is disconnected in the end. */
function client(...args) {
  const c = newClient(...args);
  clients.push(c);
  return c;
}

/** as connects a user by a token with further claims. */
async function as(sub, claims = {}, at = server) {
  const c = client(websocket, at, { token: token({ sub, ...claims }) });
  c.connect();
  await c.ready(20000);
  return c;
}

/**
 * flood publishes for some seconds at a pace. It returns how many passed, and in
 * which time; busy is that without the time in which nothing was answered, when
 * the machine did something else and nobody asked for what the rate allows.
 */
async function flood(clients, name, perSecond, seconds, refusals = []) {
  const began = performance.now();
  const waiting = [];
  let sent = 0;
  let passed = 0;
  let answered = began;
  let lost = 0;
  const answer = () => {
    const now = performance.now();
    lost += Math.max(0, now - answered - 250) / 1000;
    answered = now;
  };
  for (;;) {
    const at = (performance.now() - began) / 1000;
    if (at >= seconds) break;
    while (sent < at * perSecond) {
      const c = clients[sent++ % clients.length];
      waiting.push(c.publish(name(sent), { sent }).then(() => { passed++; }, (e) => refusals.push(e)).finally(answer));
    }
    await sleep(2);
  }
  await Promise.all(waiting);
  const took = (performance.now() - began) / 1000;
  return { passed, seconds: took, busy: took - lost };
}

/** near holds what passed against a rate and its burst, within 5 %. */
function near(what, { passed, seconds, busy }, rate, burst) {
  const most = (rate * seconds + burst) * 1.05;
  const least = (rate * busy + burst) * 0.95;
  assert.ok(passed <= most && passed >= least, `${what}: ${passed} passed in ${seconds} s (${busy} s busy), want ${least} to ${most}`);
}

test('10 s at twice the limit pass the limit within 5 %, by channel, user and token', async () => {
  const refusals = [];
  const channel = async () => {
    const clients = [await as('c1'), await as('c2')];
    near('a channel of 20 a second, burst 10', await flood(clients, () => 'paced:x', 40, 10, refusals), 20, 10);
  };
  const user = async () => {
    const clients = [await as('u'), await as('u')];
    near('a user of 40 a second', await flood(clients, (n) => `plain:${n % 7}`, 80, 10, refusals), 40, 40);
  };
  const byToken = async () => {
    const limits = { jti: 't10', limits: { publish_per_second: 10 } };
    const clients = [await as('t', limits), await as('t', limits)];
    near('a token of 10 a second', await flood(clients, () => 'plain:t', 20, 10, refusals), 10, 10);
  };
  await Promise.all([channel(), user(), byToken()]);
  assert.ok(refusals.length > 300, `${refusals.length} refusals`);
  for (const e of refusals) {
    assert.equal(e.code, 111);
    assert.match(e.message, /try again in \d/);
  }
});

test('a user may be slower than once a second, and waits as long as it is told', async () => {
  const c = await as('sloth');
  await c.publish('slow:x', 1);
  await assert.rejects(c.publish('slow:y', 2), (e) => e.code === 111 && /1 publications in 10s.*try again in ([5-9]\.\d+|10(\.\d+)?)s/.test(e.message));
  await assert.rejects(c.publish('small:x', 'x'.repeat(1024)), { code: 106 });
});

test('the server is held to the rate of a channel too, and told when to try again', async () => {
  // All at once: one after the other takes as long as the rate needs to make room.
  const all = await Promise.allSettled(Array.from({ length: 100 }, (_, i) => server.api('publish', { channel: 'paced:api', data: i })));
  const refused = all.filter((r) => r.status === 'rejected').map((r) => r.reason);
  assert.ok(refused.length > 0 && refused.length <= 90, `${refused.length} of 100 were refused`);
  for (const e of refused) assert.ok(e.code === 111 && e.x_retry_ms > 0 && e.x_retry_ms <= 51, e.message);
});

test('connections and subscriptions are limited by user and token', async () => {
  const three = [await as('many'), await as('many'), await as('many')];
  const fourth = client(websocket, server, { token: token({ sub: 'many' }) });
  fourth.connect();
  const { code } = await once(fourth, 'disconnected');
  assert.equal(code, 3504);
  three[0].disconnect();
  await until('there is room again', async () => {
    const c = client(websocket, server, { token: token({ sub: 'many' }) });
    c.connect();
    return new Promise((r) => { c.on('connected', () => r(true)); c.on('disconnected', () => r(false)); });
  });
  const c = await as('few', { limits: { subscriptions: 1, connections: 1 } });
  c.newSubscription('plain:1').subscribe();
  const second = c.newSubscription('plain:2');
  second.subscribe();
  assert.equal((await once(second, 'unsubscribed')).code, 106);
  const other = client(websocket, server, { token: token({ sub: 'few', limits: { connections: 1 } }) });
  other.connect();
  assert.equal((await once(other, 'disconnected')).code, 3504);
});

test('a revoked user is sent away for good; a token of later is good', async () => {
  const old = await as('rita', { iat: inSeconds(-5) });
  const spared = await as('rob', { iat: inSeconds(-5) });
  const gone = once(old, 'disconnected');
  const before = inSeconds(0);
  await server.api('revoke', { user: 'rita', reason: 'stolen' });
  const { code, reason } = await gone;
  assert.equal(code, 3500);
  assert.match(reason, /revoked: stolen/);
  const again = client(websocket, server, { token: token({ sub: 'rita', iat: before }) });
  again.connect();
  assert.equal((await once(again, 'disconnected')).code, 3500);
  await as('rita', { iat: inSeconds(2) });
  assert.equal(spared.state, 'connected');
});

test('a revoked token makes no connection, no subscription and refreshes none', async () => {
  let asked = 0;
  const c = client(websocket, server, {
    token: token({ sub: 'ted', jti: 'j1', exp: inSeconds(2) }),
    getToken: async () => { asked++; return token({ sub: 'ted', jti: 'j2', exp: inSeconds(60) }); },
  });
  c.connect();
  await c.ready(20000);
  const of = await as('tom');
  const sub = of.newSubscription('private:x', { token: token({ sub: 'tom', channel: 'private:x', jti: 's1' }) });
  sub.subscribe();
  await sub.ready(20000);
  const gone = once(c, 'disconnected');
  const unsubscribed = once(sub, 'unsubscribed');
  await server.api('revoke', { token: 'j2' });
  await server.api('revoke', { token: 's1' });
  assert.equal((await unsubscribed).code, 2000);
  assert.equal((await gone).code, 3500);
  assert.equal(asked, 1);
});

test('users and addresses are blocked and unblocked, and the list outlives the server', async () => {
  const mallory = client(websocket, server, { token: token({ sub: 'mallory' }) });
  mallory.connect();
  assert.equal((await once(mallory, 'disconnected')).code, 3503);
  await assert.rejects(server.api('unblock', { user: 'mallory' }), { code: 103 });

  const eve = await as('eve');
  const gone = once(eve, 'disconnected');
  await server.api('block', { user: 'eve' });
  assert.equal((await gone).code, 3503);
  await server.api('block', { address: '192.0.2.0/24' });
  const from = (address) => fetch(server.http(`/connection/uni_http_stream?channel=plain:x&token=${token({ sub: 'ann' })}`), {
    headers: { 'X-Forwarded-For': address }, signal: AbortSignal.timeout(5000),
  }).then(async (r) => { await r.body?.cancel(); return r.status; });
  assert.equal(await from('8.8.8.8, 192.0.2.7'), 403);
  assert.equal(await from('192.0.2.7, 8.8.8.8'), 200);

  await server.signal('SIGKILL');
  await server.run();
  assert.equal(await from('192.0.2.7'), 403);
  const again = client(websocket, server, { token: token({ sub: 'eve' }) });
  again.connect();
  assert.equal((await once(again, 'disconnected')).code, 3503);
  await server.api('unblock', { user: 'eve' });
  await server.api('unblock', { address: '192.0.2.0/24' });
  assert.equal(await from('192.0.2.7'), 200);
  await as('eve');
  const { blocks } = await server.api('blocks', {});
  assert.deepEqual(blocks.filter((b) => b.kind === 'user'), [{ kind: 'user', value: 'mallory', configured: true }]);
});

test('in a cluster a rate is of all nodes together, and a revocation reaches all, one that was away too', async () => {
  const cluster = await Cluster.launch(({ dir, peers }) => {
    const file = join(dir, 'myelin.yaml');
    writeFileSync(file, `
admin: {listen: ""}
auth: {tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
cluster: {secret: a-secret-of-the-nodes-in-a-test, peers: [${peers.map((p) => `"127.0.0.1:${p}"`).join(', ')}]}
namespaces: {paced: {publish: [user], rate: {publish: 30, burst: 30}}}
`);
    return ['serve', '--config', file];
  });
  try {
    const at = cluster.nodes.map((n) => ({ ws: (path) => `ws://127.0.0.1:${n.port}${path}` }));
    const clients = await Promise.all(at.map((a) => as('ann', { iat: inSeconds(-5) }, a)));
    // The burst may be had at each node at once, and more while nodes hear of
    // each other late; it is paid off, so that over time the sum is the limit.
    const began = performance.now();
    let passed = 0;
    let busy = 0;
    await until('the sum is the limit', async () => {
      const more = await flood(clients, () => 'paced:x', 120, 5);
      passed += more.passed;
      busy += more.busy;
      return passed <= (30 * (performance.now() - began) / 1000 + 30) * 1.1;
    }, 30000);
    assert.ok(passed >= (30 * busy + 30) * 0.9, `${passed} in ${busy} s on three nodes`);

    // Issued before the revocation, however long the node takes to come back.
    const old = token({ sub: 'ann', iat: inSeconds(-5) });
    await cluster.nodes[2].signal('SIGKILL');
    const gone = clients.slice(0, 2).map((c) => once(c, 'disconnected', 60000));
    // Refused as not certain while the others miss the node, or elect a leader: it is asked for again.
    const revoke = () => cluster.nodes[0].api('revoke', { user: 'ann' }).then(() => true, (e) => { assert.equal(e.code, 1000); return false; });
    await until('it is revoked', revoke, 30000);
    for (const d of await Promise.all(gone)) assert.equal(d.code, 3500);
    clients[2].disconnect();
    await cluster.nodes[2].run();
    // It tries soon again while the node reads its list: nobody is let in before.
    const again = client(websocket, at[2], { token: old, minReconnectDelay: 200, maxReconnectDelay: 500 });
    again.connect();
    assert.equal((await once(again, 'disconnected', 45000)).code, 3500);
  } finally {
    await cluster.stop();
  }
});
