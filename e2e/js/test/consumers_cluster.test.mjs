// A consumer on three nodes, of which the one that works it is killed: all that
// was published comes, and nothing whose acknowledgement was answered comes again.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, PATIENCE, transports, until } from '../lib/clients.mjs';
import { Balancer, call, Cluster, insist } from '../lib/cluster.mjs';
import { API_KEY } from '../lib/server.mjs';

const config = (peers) => `
admin: {listen: ""}
auth: {anonymous: true}
api: {key: ${API_KEY}}
drain: {grace: 0}
cluster: {secret: a-secret-of-the-nodes-in-a-test, peers: [${peers.map((p) => `"127.0.0.1:${p}"`).join(', ')}]}
namespaces:
  jobs:
    history: {size: 10000, ttl: 10m}
    subscribe: [anonymous]
    consumers: {clients: any, ack_timeout: 3s}
`;

// How long an acknowledgement may take; a node that is killed is gone after 5 s.
const ACK = 3000;

let cluster;
let address;
before(async () => {
  cluster = await Cluster.launch(({ dir, peers }) => {
    const file = join(dir, 'myelin.yaml');
    writeFileSync(file, config(peers));
    return ['serve', '--config', file];
  });
  address = await Balancer.start(cluster.nodes);
});
after(async () => {
  await address?.stop();
  await cluster?.stop();
});

test('the node that works a consumer is killed', async () => {
  const channel = 'jobs:a';
  const total = 200;
  await insist(() => call(address.port, 'consumer_create', { consumer: 'w', channel, max_unacked: 20, ack_timeout_ms: ACK }));
  const acked = new Map(); // answered with yes, and when
  const seen = new Set();
  const afterAck = [];
  const clients = [];
  for (const t of [transports[0], transports[4]]) {
    const c = await connect(t, address, { maxReconnectDelay: 300 });
    const sub = c.newSubscription(`$consumers:w~${channel}`, { maxResubscribeDelay: 300 });
    sub.on('publication', async (ctx) => {
      // What was on its way when another delivery of it was acknowledged arrives
      // at once. What was forgotten comes when its time is over, or with a new owner.
      if (Date.now() - acked.get(ctx.data) >= ACK) afterAck.push(ctx.data);
      seen.add(ctx.data);
      try {
        await c.rpc('myelin.consumer.ack', { ack: ctx.tags['myelin-ack'] });
        acked.set(ctx.data, Date.now());
      } catch { /* not known; it may come again */ }
    });
    sub.subscribe();
    await sub.ready(PATIENCE);
    clients.push(c);
  }
  const publishing = (async () => {
    for (let n = 0; n < total; n++) {
      await insist(() => call(address.port, 'publish', { channel, data: n, idempotency_key: `n${n}` }));
    }
  })();
  await until('a quarter of it', () => acked.size >= total / 4, 60000);
  const owner = (await insist(() => call(address.port, 'consumer_info', { consumer: 'w', channel }))).node;
  const victim = cluster.nodes.find((n) => n.name === owner);
  await victim.signal('SIGKILL');
  await publishing;
  let info;
  await until('all settled', async () => {
    try {
      info = await call(cluster.nodes.find((n) => n !== victim).port, 'consumer_info', { consumer: 'w', channel });
    } catch { return false; }
    return info.pending + info.behind === 0 && info.counts.acked >= total;
  }, 60000);
  assert.notEqual(info.node, owner);
  assert.deepEqual(afterAck, [], 'delivered again although the ack was answered');
  assert.deepEqual([seen.size, info.counts.acked, info.counts.lost], [total, total, 0]);
  for (const c of clients) c.disconnect();
});
