// Three nodes: what one of them had that is killed is told by the others, once,
// and a webhook goes on being told by one of them.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { PATIENCE, until } from '../lib/clients.mjs';
import { Cluster } from '../lib/cluster.mjs';
import { API_KEY, freePort, SECRET, token } from '../lib/server.mjs';

let cluster;
let receiver;
const letters = new Map();
const altered = [];
before(async () => {
  const port = await freePort();
  receiver = createServer((req, res) => {
    const parts = [];
    req.on('data', (b) => parts.push(b)).on('end', () => {
      const l = JSON.parse(Buffer.concat(parts));
      // It may come again: taken too slowly, or by one that died before it noted that.
      if (letters.has(l.id) && !isDeepStrictEqual(l, letters.get(l.id))) altered.push(l);
      if (!letters.has(l.id)) letters.set(l.id, l);
      res.end();
    });
  });
  receiver.keepAliveTimeout = 0; // nothing is asked while its connection is being closed
  await new Promise((r) => receiver.listen(port, '127.0.0.1', r));
  cluster = await Cluster.launch(({ dir, peers }) => {
    const file = join(dir, 'myelin.yaml');
    writeFileSync(file, `
admin: {listen: ""}
auth: {tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
cluster:
  secret: a-secret-of-the-nodes-in-a-test
  peers: [${peers.map((p) => `"127.0.0.1:${p}"`).join(', ')}]
lifecycle: {events: [connected, disconnected, occupied, vacated]}
webhooks:
  app: {url: "http://127.0.0.1:${port}/", secret: a-secret-of-the-webhook, timeout: 1s}
namespaces:
  open: {subscribe: [user]}
`);
    return ['serve', '--config', file];
  });
});
after(async () => {
  await cluster?.stop();
  receiver.closeAllConnections();
  await new Promise((r) => receiver.close(r));
});

const told = (event, match) => [...letters.values()].flatMap((l) => l.events)
  .filter((e) => e.event === event && Object.entries(match).every(([k, v]) => e[k] === v));

/** member connects a user at a node and subscribes to channels. */
async function member(node, user, channels) {
  const c = new Centrifuge(`ws://127.0.0.1:${node.port}/connection/websocket`, { websocket: WebSocket, token: token({ sub: user }) });
  c.on('error', () => {});
  c.connect();
  await c.ready(PATIENCE);
  for (const name of channels) {
    const s = c.newSubscription(name);
    s.subscribe();
    await s.ready(PATIENCE);
  }
  return c;
}

test('a node that is killed, and the webhook that goes on', async () => {
  const [a, b, c] = cluster.nodes;
  const clients = await Promise.all([
    member(a, 'ann', ['open:all', 'open:a']), member(b, 'bob', ['open:all', 'open:b']), member(c, 'cat', ['open:all', 'open:c']),
  ]);
  await until('occupied', () => told('occupied', { channel: 'open:c' }).length && told('occupied', { channel: 'open:b' }).length);
  assert.equal(told('occupied', { channel: 'open:all' }).length, 1);
  await a.signal('SIGKILL');
  await until('down', () => told('disconnected', { user: 'ann' }).length > 0 && told('vacated', { channel: 'open:a' }).length > 0, 60000);
  const [gone] = told('disconnected', { user: 'ann' });
  assert.deepEqual([gone.node, gone.code, gone.reason], ['n0', 3000, 'node down']);
  assert.equal(told('node_down', { node: 'n0' }).length, 1);
  clients[0].disconnect();
  clients[1].disconnect();
  await until('bob', () => told('disconnected', { user: 'bob' }).length > 0);
  await until('vacated', () => told('vacated', { channel: 'open:b' }).length > 0);
  for (const [event, match] of [
    ['connected', { user: 'ann' }], ['connected', { user: 'bob' }], ['connected', { user: 'cat' }],
    ['disconnected', { user: 'ann' }], ['disconnected', { user: 'bob' }], ['vacated', { channel: 'open:a' }], ['vacated', { channel: 'open:b' }],
  ]) assert.equal(told(event, match).length, 1, `${event} ${JSON.stringify(match)}`);
  assert.equal(told('vacated', { channel: 'open:all' }).length, 0);
  const offsets = [...letters.values()].flatMap((l) => l.events.map((e) => e.offset));
  assert.deepEqual(offsets, [...offsets].sort((x, y) => x - y));
  assert.deepEqual(altered, [], 'another delivery under the same id');
  clients[2].disconnect();
});
