// The doors of other protocols on three nodes: what one node is told all know.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EventSource } from 'eventsource';
import PusherServer from 'pusher';
import Pusher from 'pusher-js';
import { until } from '../lib/clients.mjs';
import { Cluster } from '../lib/cluster.mjs';
import { SECRET, token } from '../lib/server.mjs';

let cluster;
before(async () => {
  cluster = await Cluster.start({
    keys: `
pusher: {app_id: "1", key: app-key, secret: app-secret}
mercure: {enabled: true}
`,
    namespaces: `
  pusher: {history: {size: 100}, subscribe: [anonymous]}
  pusher-private: {history: {size: 100}, presence: true, join_leave: true, subscribe: [token], publish: [subscriber]}
  mercure: {history: {size: 100}, subscribe: [anonymous], subscribe_patterns: [anonymous]}
  mercure-private: {history: {size: 100}, subscribe: [token], subscribe_patterns: [token]}
`.replace(/^\n/, ''),
  });
});
after(async () => { await cluster.stop(); });

const app = (n) => new PusherServer({ appId: '1', key: 'app-key', secret: 'app-secret', host: '127.0.0.1', port: `${cluster.nodes[n].port}`, useTLS: false });

function client(n, user) {
  return new Pusher('app-key', {
    cluster: '', wsHost: '127.0.0.1', wsPort: cluster.nodes[n].port, forceTLS: false, enabledTransports: ['ws'],
    channelAuthorization: { customHandler: (p, done) => done(null, app(0).authorizeChannel(p.socketId, p.channelName, { user_id: user })) },
  });
}

async function join(c, name) {
  const ch = c.subscribe(name);
  await until(`subscribed to ${name}`, () => ch.subscribed, 60000);
  return ch;
}

test('Pusher: presence, events and users over the nodes', async () => {
  const clients = [client(0, 'ann'), client(1, 'bob'), client(2, 'bob')];
  const ann = await join(clients[0], 'presence-room');
  const came = [];
  ann.bind('pusher:member_added', (m) => came.push(`+${m.id}`));
  ann.bind('pusher:member_removed', (m) => came.push(`-${m.id}`));
  const bob = await join(clients[1], 'presence-room');
  await until('bob is seen', () => came.length === 1);
  await join(clients[2], 'presence-room');
  const got = [];
  for (const ch of [ann, bob]) ch.bind_global((event, data) => { if (!event.startsWith('pusher')) got.push([event, data]); });
  await app(2).trigger('presence-room', 'opened', { n: 1 }, { socket_id: clients[1].connection.socket_id });
  await until('the event', () => got.length === 1);
  assert.deepEqual(got, [['opened', { n: 1 }]]);
  const about = async (n) => (await app(n).get({ path: '/channels/presence-room', params: { info: 'user_count,subscription_count' } })).json();
  for (const n of [0, 1, 2]) {
    await until('counted', async () => (await about(n)).subscription_count === 3);
    assert.equal((await about(n)).user_count, 2);
  }
  clients[1].disconnect();
  await until('one connection less', async () => (await about(0)).subscription_count === 2);
  assert.deepEqual(came, ['+bob']);
  clients[2].disconnect();
  await until('bob is gone', () => came.length === 2);
  assert.deepEqual(came, ['+bob', '-bob']);
  clients[0].disconnect();
});

test('Mercure: publish here, listen there, come back elsewhere', async () => {
  const hub = (n) => `http://127.0.0.1:${cluster.nodes[n].port}/.well-known/mercure`;
  const jwt = token({ mercure: { publish: ['*'] } }, SECRET);
  const publish = async (n, topic, data) => {
    const r = await fetch(hub(n), { method: 'POST', headers: { Authorization: `Bearer ${jwt}` }, body: new URLSearchParams({ topic, data }) });
    assert.equal(r.status, 200, await r.clone().text());
    return r.text();
  };
  const topic = 'https://example.com/1';
  const listen = async (n, query) => {
    const es = new EventSource(`${hub(n)}?${new URLSearchParams(query)}`);
    const data = [];
    es.onmessage = (m) => data.push(m.data);
    await until('open', () => es.readyState === EventSource.OPEN);
    return { data, close: () => es.close() };
  };
  const exact = await listen(1, { topic });
  const all = await listen(2, { topic: '*' });
  const first = await publish(0, topic, 'one');
  await publish(2, topic, 'two');
  await until('both', () => exact.data.length === 2 && all.data.length === 2);
  for (const l of [exact, all]) {
    assert.deepEqual(l.data, ['one', 'two']);
    l.close();
  }
  const again = await listen(2, { topic, lastEventID: first });
  await until('two', () => again.data.length === 1);
  assert.deepEqual(again.data, ['two']);
  again.close();
});
