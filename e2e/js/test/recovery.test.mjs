// Connections are cut while publications go on: what a client has in the end
// is exactly what was published, in order, nothing lost and nothing twice.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, once, PATIENCE, transports, until } from '../lib/clients.mjs';
import { Relay } from '../lib/relay.mjs';
import { engine, keeps, Server } from '../lib/server.mjs';

// Where the engine is another one the doors are the same.
const ROUNDS = engine ? 30 : 100;

let server;
let relay;
before(async () => {
  server = await Server.start();
  relay = await Relay.start(server.port);
});
after(async () => {
  await relay.stop();
  await server.stop();
});

const slug = (t) => t.name.replaceAll(/\W+/g, '-');

describe(`${ROUNDS} cut connections`, () => {
  for (const t of transports) {
    test(t.name, async () => {
      const ch = `open:cut-${slug(t)}`;
      const publisher = await connect(transports[0], server, { timeout: PATIENCE });
      const c = await connect(t, relay);
      const sub = c.newSubscription(ch);
      const got = [];
      const recoveries = [];
      sub.on('publication', (p) => got.push(t.decode(p.data)));
      sub.on('subscribed', (e) => { if (e.wasRecovering) recoveries.push(e); });
      sub.subscribe();
      await sub.ready(PATIENCE);
      let n = 0;
      const publish = async (count) => {
        for (let i = 0; i < count; i++) await publisher.publish(ch, n++);
      };
      for (let round = 0; round < ROUNDS; round++) {
        const back = once(sub, 'subscribed', 60000);
        // Some go out before the cut, some while nobody listens, some while
        // the client comes back.
        const during = publish(8);
        relay.cut();
        await during;
        await Promise.all([back, publish(round % 5)]);
      }
      await until(`all ${n}`, () => got.length >= n);
      assert.deepEqual(got, Array.from({ length: n }, (_, i) => i));
      assert.ok(recoveries.length >= ROUNDS, `${recoveries.length} recoveries`);
      assert.ok(recoveries.every((e) => e.recovered), 'every recovery was whole');
      const missed = recoveries.filter((e) => e.hasRecoveredPublications).length;
      assert.ok(missed >= ROUNDS / 2, `something was missed in ${missed} rounds only`);
      c.disconnect();
      publisher.disconnect();
    });
  }
});

test('a server-side subscription recovers too', async () => {
  const { token } = await import('../lib/server.mjs');
  const t = transports[0];
  const ch = 'members:recovering';
  const c = await connect(t, relay, { token: token({ sub: 'rob', channels: [ch] }) });
  const got = [];
  c.on('publication', (p) => got.push(p.data));
  let n = 0;
  for (let round = 0; round < 20; round++) {
    const back = once(c, 'connected');
    relay.cut();
    for (let i = 0; i < 3; i++) await server.api('publish', { channel: ch, data: n++ });
    await back;
  }
  await until(`all ${n}`, () => got.length >= n);
  assert.deepEqual(got, Array.from({ length: n }, (_, i) => i));
  c.disconnect();
});

test('what is not kept any more is said to be lost', async () => {
  const t = transports[0];
  const c = await connect(t, relay);
  const sub = c.newSubscription('short:x');
  sub.subscribe();
  await sub.ready(PATIENCE);
  await server.api('publish', { channel: 'short:x', data: 0 });
  relay.refusing = true;
  relay.cut();
  for (let n = 1; n <= 20; n++) await server.api('publish', { channel: 'short:x', data: n });
  const back = once(sub, 'subscribed');
  relay.refusing = false;
  const e = await back;
  assert.equal(e.wasRecovering, true);
  assert.equal(e.recovered, false);
  c.disconnect();
});

test(`a restart ${keeps(false) ? 'goes on where it was' : 'begins a new epoch'}, and the client is told`, async () => {
  const own = await Server.start();
  const c = await connect(transports[0], own);
  const sub = c.newSubscription('open:restart');
  sub.subscribe();
  await sub.ready(PATIENCE);
  await c.publish('open:restart', 1);
  const back = once(sub, 'subscribed', 60000);
  await own.signal('SIGKILL');
  await own.run();
  const e = await back;
  assert.equal(e.wasRecovering, true);
  assert.equal(e.recovered, keeps(false));
  c.disconnect();
  await own.stop();
});

test('a drain asks clients to come back', async () => {
  const own = await Server.start();
  const c = await connect(transports[0], own);
  const going = once(c, 'connecting');
  const { code } = await own.signal('SIGTERM');
  assert.equal(code, 0, own.log);
  assert.equal((await going).code, 3001);
  c.disconnect();
  await own.stop();
});
