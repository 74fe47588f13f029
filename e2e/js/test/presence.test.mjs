// Presence by connection and by user, with the unmodified npm client, on one
// node, on three of which one dies, and where hundreds leave at once.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect, transports, until } from '../lib/clients.mjs';
import { call, Cluster } from '../lib/cluster.mjs';
import { API_KEY, engine, freePort, SECRET, Server, token } from '../lib/server.mjs';

const config = `
admin: {listen: ""}
auth: {anonymous: true, tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
namespaces:
  users: {subscribe: [user], presence: true, join_leave: true, join_leave_by: user}
  crowd: {subscribe: [anonymous], presence: true, join_leave: true, join_leave_rate: 500}
`;
const json = transports[0];
const user = (at, sub, info) => connect(json, at, { token: token({ sub, info }) });

/** watch subscribes and collects "join ann", "leave ann". */
async function watch(c, channel) {
  const sub = c.newSubscription(channel, { joinLeave: true });
  const got = [];
  sub.on('join', (ctx) => got.push(`join ${ctx.info.user}`));
  sub.on('leave', (ctx) => got.push(`leave ${ctx.info.user}`));
  sub.subscribe();
  await sub.ready(20000);
  return got;
}

async function enter(c, channel) {
  const sub = c.newSubscription(channel);
  sub.subscribe();
  await sub.ready(20000);
}

const told = (got, ...want) => until(`told ${want}`, () => got.join() === want.join());

describe('one node', () => {
  let server;
  before(async () => {
    const port = await freePort();
    server = await Server.start({ port, config: `listen: 127.0.0.1:${port}\n${config}` });
  });
  after(() => server.stop());

  test('a user joins with the first connection and leaves with the last', async () => {
    const watcher = await user(server, 'watcher');
    const got = await watch(watcher, 'users:a');
    const ann = [await user(server, 'ann', { name: 'Ann' }), await user(server, 'ann', { name: 'Ann' })];
    const bob = await user(server, 'bob');
    for (const c of [...ann, bob]) await enter(c, 'users:a');
    await told(got, 'join watcher', 'join ann', 'join bob');
    const want = [
      { user: 'ann', num_clients: 2, conn_info: { name: 'Ann' } }, { user: 'bob', num_clients: 1 }, { user: 'watcher', num_clients: 1 },
    ];
    const { data } = await watcher.rpc('myelin.presence.users', { channel: 'users:a' });
    assert.deepEqual(data.users, want);
    assert.deepEqual((await server.api('presence_users', { channel: 'users:a' })).users, want);
    assert.deepEqual(await server.api('presence_stats', { channel: 'users:a' }), { num_clients: 4, num_users: 3 });
    ann[0].disconnect();
    bob.disconnect();
    await told(got, 'join watcher', 'join ann', 'join bob', 'leave bob');
    ann[1].disconnect();
    await told(got, 'join watcher', 'join ann', 'join bob', 'leave bob', 'leave ann');
    const stranger = await user(server, 'stranger');
    await assert.rejects(stranger.rpc('myelin.presence.users', { channel: 'users:a' }), (e) => e.code === 103);
    for (const c of [watcher, stranger]) c.disconnect();
  });

  test('300 that leave at once are told in batches, and nobody is cut off', async () => {
    const watcher = await connect(json, server);
    let drops = 0;
    watcher.on('connecting', () => { drops++; });
    const got = await watch(watcher, 'crowd:a');
    const all = await Promise.all(Array.from({ length: 300 }, () => connect(json, server)));
    await Promise.all(all.map((c) => enter(c, 'crowd:a')));
    await until('all are known', () => got.filter((l) => l.startsWith('join')).length === 301);
    assert.deepEqual(await server.api('presence_stats', { channel: 'crowd:a' }), { num_clients: 301, num_users: 1 });
    for (const c of all) c.disconnect();
    await until('nobody is there', async () => (await server.api('presence_stats', { channel: 'crowd:a' })).num_clients === 1);
    await until('all have left', () => got.filter((l) => l.startsWith('leave')).length === 300);
    assert.equal(drops, 0);
    watcher.disconnect();
  });
});

test('three nodes: a user is one wherever, and a node that dies takes its members along', { skip: engine !== '' && 'a cluster has its own' }, async () => {
  const cluster = await Cluster.launch(({ dir, peers }) => {
    const file = join(dir, 'myelin.yaml');
    writeFileSync(file, `${config}cluster:
  secret: a-secret-of-the-nodes-in-a-test
  peers: [${peers.map((p) => `"127.0.0.1:${p}"`).join(', ')}]
`);
    return ['serve', '--config', file];
  });
  try {
    const at = (n) => ({ http: (p) => `http://127.0.0.1:${n.port}${p}`, ws: (p) => `ws://127.0.0.1:${n.port}${p}` });
    const [a, b, c] = cluster.nodes;
    const watcher = await user(at(a), 'watcher');
    const got = await watch(watcher, 'users:x');
    const clients = [await user(at(b), 'ann'), await user(at(c), 'ann'), await user(at(c), 'cid')];
    for (const one of clients) await enter(one, 'users:x');
    await told(got, 'join watcher', 'join ann', 'join cid');
    for (const n of cluster.nodes) {
      await until('the same everywhere', async () => {
        const { users } = await call(n.port, 'presence_users', { channel: 'users:x' });
        return JSON.stringify(users.map((u) => [u.user, u.num_clients])) === '[["ann",2],["cid",1],["watcher",1]]';
      });
    }
    for (const one of clients.slice(1)) one.on('connecting', () => one.disconnect()); // they do not come back
    await c.signal('SIGKILL');
    await until('who was there is gone', () => got.at(-1) === 'leave cid', 15000);
    clients[0].disconnect();
    await told(got, 'join watcher', 'join ann', 'join cid', 'leave cid', 'leave ann');
    watcher.disconnect();
  } finally {
    await cluster.stop();
  }
});
