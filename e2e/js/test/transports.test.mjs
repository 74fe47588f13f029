// Everything the client protocol has, by every transport of the npm client.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { client, connect, once, transports, until } from '../lib/clients.mjs';
import { inSeconds, Server, token } from '../lib/server.mjs';

let server;
before(async () => { server = await Server.start(); });
after(() => server.stop());

for (const t of transports) {
  describe(t.name, () => {
    const name = (rest) => `open:${t.name.replaceAll(/\W+/g, '-')}-${rest}`;

    test('subscribe, publish, receive in order, unsubscribe', async () => {
      const a = await connect(t, server);
      const b = await connect(t, server);
      const sub = a.newSubscription(name('order'));
      const got = [];
      sub.on('publication', (p) => got.push(t.decode(p.data).n));
      sub.subscribe();
      await sub.ready(20000);
      for (let n = 0; n < 50; n++) await b.publish(name('order'), t.encode({ n }));
      await until('50 publications', () => got.length >= 50);
      assert.deepEqual(got, Array.from({ length: 50 }, (_, n) => n));
      sub.unsubscribe();
      await b.publish(name('order'), t.encode({ n: 50 }));
      await b.rpc('myelin.time', t.encode({}));
      assert.equal(got.length, 50);
      a.disconnect();
      b.disconnect();
    });

    test('rpc publishes once for one id and returns the position', async () => {
      const c = await connect(t, server);
      const req = t.encode({ channel: name('id'), data: { x: 1 }, id: 'one' });
      const first = t.decode((await c.rpc('myelin.publish', req)).data);
      const again = t.decode((await c.rpc('myelin.publish', req)).data);
      assert.equal(first.offset, 1);
      assert.equal(first.duplicate, false);
      assert.deepEqual(again, { ...first, duplicate: true });
      await assert.rejects(c.rpc('no.such', t.encode({})), { code: 104 });
      c.disconnect();
    });

    test('history by limit, since and from the end', async () => {
      const c = await connect(t, server);
      for (let n = 1; n <= 10; n++) await c.publish(name('history'), t.encode({ n }));
      const ns = (h) => h.publications.map((p) => t.decode(p.data).n);
      const top = await c.history(name('history'));
      assert.equal(top.publications.length, 0);
      assert.equal(top.offset, 10);
      assert.deepEqual(ns(await c.history(name('history'), { limit: 3 })), [1, 2, 3]);
      const since = { epoch: top.epoch, offset: 7 };
      assert.deepEqual(ns(await c.history(name('history'), { limit: 10, since })), [8, 9, 10]);
      assert.deepEqual(ns(await c.history(name('history'), { limit: 2, reverse: true })), [10, 9]);
      await assert.rejects(c.history(name('history'), { limit: 1, since: { epoch: 'other', offset: 1 } }), { code: 112 });
      c.disconnect();
    });

    test('presence, joins and leaves', async () => {
      const a = await connect(t, server, { token: token({ sub: 'ann' }) });
      const b = await connect(t, server, { token: token({ sub: 'bob' }) });
      const sub = a.newSubscription(name('room'), { joinLeave: true });
      const seen = [];
      sub.on('join', (e) => seen.push(`+${e.info.user}`));
      sub.on('leave', (e) => seen.push(`-${e.info.user}`));
      sub.subscribe();
      await sub.ready(20000);
      const other = b.newSubscription(name('room'));
      other.subscribe();
      await other.ready(20000);
      await until('bob joined', () => seen.includes('+bob'));
      const { clients } = await sub.presence();
      assert.deepEqual(Object.values(clients).map((i) => i.user).sort(), ['ann', 'bob']);
      assert.deepEqual(await sub.presenceStats(), { numClients: 2, numUsers: 2 });
      b.disconnect();
      await until('bob left', () => seen.includes('-bob'));
      assert.deepEqual(await sub.presenceStats(), { numClients: 1, numUsers: 1 });
      a.disconnect();
    });

    test('a token is refreshed in band', async () => {
      let asked = 0;
      const getToken = async () => {
        asked++;
        return token({ sub: 'ann', exp: inSeconds(4) });
      };
      const c = client(t, server, { getToken });
      let lost = 0;
      c.on('connecting', () => lost++);
      c.connect();
      await c.ready(20000);
      await until('three tokens', () => asked >= 3, 30000);
      assert.equal(lost, 1, 'the connection was never lost');
      c.disconnect();
    });

    test('a subscription token is needed where the namespace says so', async () => {
      const c = await connect(t, server, { token: token({ sub: 'ann' }) });
      const ch = 'private:doc';
      const denied = c.newSubscription(ch);
      denied.subscribe();
      const why = await once(denied, 'unsubscribed');
      assert.equal(why.code, 103);
      c.removeSubscription(denied);
      let asked = 0;
      const sub = c.newSubscription(ch, {
        getToken: async () => {
          asked++;
          return token({ sub: 'ann', channel: ch, exp: inSeconds(4) });
        },
      });
      sub.subscribe();
      await sub.ready(20000);
      await until('refreshed', () => asked >= 2, 30000);
      assert.equal(sub.state, 'subscribed');
      c.disconnect();
    });

    test('server-side subscriptions', async () => {
      const ch = `members:inbox-${t.name.replaceAll(/\W+/g, '')}`;
      const c = client(t, server, { token: token({ sub: 'ann', channels: [ch] }) });
      const got = [];
      c.on('publication', (p) => got.push([p.channel, t.decode(p.data)]));
      c.connect();
      await c.ready(20000);
      await server.api('publish', { channel: ch, data: { hello: 1 } });
      await until('a publication', () => got.length === 1);
      assert.deepEqual(got[0], [ch, { hello: 1 }]);
      const later = once(c, 'subscribed');
      await server.api('subscribe', { user: 'ann', channel: `${ch}-2` });
      assert.equal((await later).channel, `${ch}-2`);
      const gone = once(c, 'unsubscribed');
      await server.api('unsubscribe', { user: 'ann', channel: `${ch}-2` });
      assert.equal((await gone).channel, `${ch}-2`);
      const out = once(c, 'disconnected');
      await server.api('disconnect', { user: 'ann' });
      assert.equal((await out).code, 3503);
      c.disconnect();
    });

    test('who comes with a bad token does not get in', async () => {
      const bad = client(t, server, { token: token({ sub: 'eve' }, 'another-secret') });
      const out = once(bad, 'disconnected');
      bad.connect();
      assert.equal((await out).code, 3500);
      const late = client(t, server, { token: token({ sub: 'eve', exp: inSeconds(-3600) }) });
      const error = once(late, 'error');
      late.connect();
      assert.equal((await error).error.code, 109);
      late.disconnect();
    });

    test('what is refused is refused with its code', async () => {
      const c = await connect(t, server);
      const refused = async (ch, code) => {
        const sub = c.newSubscription(ch);
        sub.subscribe();
        assert.equal((await once(sub, 'unsubscribed')).code, code);
      };
      await refused('nowhere:x', 102);
      await refused('members:x', 103);
      await assert.rejects(c.publish('members:x', t.encode({})), { code: 103 });
      await assert.rejects(c.presence('plain:x'), { code: 103 });
      await assert.rejects(c.history('plain:x', { limit: 1 }), { code: 103 });
      await assert.rejects(c.publish('open:big', t.encode({ x: 'y'.repeat(65536) })), { code: 106 });
      c.disconnect();
    });
  });
}
