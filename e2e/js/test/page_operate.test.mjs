// The operators' view in headless Chromium: connections and their backlog, the
// tail of a client, why a client did not get a publication, limits, the key.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse, forgetShots, shot } from '../lib/browser.mjs';
import { PATIENCE, until } from '../lib/clients.mjs';
import { API_KEY, Server } from '../lib/server.mjs';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

let server;
let browser;
let page;
let ann;
const errors = [];
const id = (name) => page.locator(`[data-testid="${name}"]`).first();
const text = async (name) => (await id(name).innerText()).replaceAll('\n', ' ');

const config = (port) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth: {anonymous: true}
api: {key: ${API_KEY}}
drain: {grace: 0}
namespaces:
  open:
    history: {size: 100, ttl: 5m}
    subscribe: [anonymous]
    publish: [anonymous]
    read_history: [anonymous]
    consumers: {clients: any}
`;

before(async () => {
  server = await Server.start({ config });
  browser = await browse();
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.on('pageerror', (e) => errors.push(e.message));
  ann = new Centrifuge(server.ws('/connection/websocket'), { websocket: WebSocket, timeout: PATIENCE });
  const sub = ann.newSubscription('open:news');
  sub.subscribe();
  ann.connect();
  await Promise.all([ann.ready(PATIENCE), sub.ready(PATIENCE)]);
});
after(async () => {
  ann?.disconnect();
  await browser?.close();
  await server?.stop();
  forgetShots();
});

test('a server that has nothing of the demo shows its channels, and no refusals', async () => {
  await page.goto(server.http('/'));
  await until('a word of welcome', async () => (await id('hello').count()) === 1);
  assert.match(await text('hello'), /myelin demo/);
  assert.equal(await id('ecg').count(), 0);
  assert.equal(await page.locator('.note.bad').count(), 0);
  await id('channel-input').fill('open:news');
  await id('channel-open').click();
  await server.api('publish', { channel: 'open:news', data: { text: 'hello page' } });
  await until('the publication', async () => (await text('tail-log')).includes('hello page'));
  await shot(page, 'bare.png');
});

test('without the key of the API there is nothing to see', async () => {
  await page.goto(server.http('/?view=operate'));
  await id('api-key').fill('not the key');
  await id('api-unlock').click();
  // It is refused when the key is asked for anew.
  await until('another refusal', async () => (await id('api-key').count()) === 1 && (await id('api-key').inputValue()) === '');
  await id('api-key').fill(API_KEY);
  await id('api-unlock').click();
  await until('the connections', async () => (await id('connections').count()) === 1);
});

test('a client is listed, listened to and explained', async () => {
  const client = await ann.rpc('myelin.time', {}).then(() => ann._client);
  const row = page.locator(`[data-client="${client}"]`);
  await until('the client', async () => (await row.count()) === 1);
  await row.click();
  await until('its tail', async () => (await page.locator('[data-testid="client-tail"]').count()) === 1);
  const tailed = async () => {
    await ann.publish('open:news', { hello: 'operator' });
    return (await text('client-tail')).includes('operator') && (await text('client-tail')).includes('publish open:news');
  };
  await until('the publication in the tail', tailed);
  const { offset } = await ann.history('open:news', { limit: 0 });
  await id('explain-channel').fill('open:news');
  const verdict = async (want) => {
    await id('explain-ask').click();
    await until('one verdict', async () => (await id('explain-answer').locator('[data-verdict]').count()) === 1);
    return want.test(await text('explain-answer'));
  };
  await id('explain-offset').fill(String(offset));
  await until('the verdict', () => verdict(/written|received/));
  await id('explain-offset').fill(String(offset + 1));
  await until('another verdict', () => verdict(/not published/));
  await shot(page, 'operate.png');
});

test('a consumer tells whether it was acknowledged', async () => {
  await server.api('consumer_create', { consumer: 'ward', channel: 'open:alarm' });
  await server.api('consumer_create', { consumer: 'pager', channel: 'open:alarm' });
  const sub = ann.newSubscription('$consumers:ward~open:alarm');
  const got = [];
  sub.on('publication', (ctx) => got.push(ctx.tags['myelin-ack']));
  sub.subscribe();
  await sub.ready(PATIENCE);
  const { offset } = await server.api('publish', { channel: 'open:alarm', data: { bed: 4 } });
  await until('the delivery', () => got.length === 1);
  const told = (name) => page.locator('[data-testid="explain-consumer"]', { hasText: name });
  const ask = async (verdict) => {
    await id('explain-ask').click();
    return (await told('ward').count()) === 1 && (await told('ward').getAttribute('data-verdict')) === verdict;
  };
  await id('explain-channel').fill('open:alarm');
  await id('explain-offset').fill(String(offset));
  await id('explain-client').fill('');
  await until('the delivery explained', () => ask('delivered'));
  await until('the one that nobody reads', async () => (await ask('delivered')) && (await told('pager').innerText()).includes('unsent'));
  assert.match(await told('pager').innerText(), /nobody is subscribed/);
  await ann.rpc('myelin.consumer.ack', { ack: got[0] });
  await until('the acknowledgement', () => ask('acknowledged'));
  assert.match(await told('ward').innerText(), new RegExp(ann._client));
  await id('explain-answer').scrollIntoViewIfNeeded();
  await shot(page, 'operate-consumers.png');
});

test('a limit that was hit is shown', async () => {
  const r = await server.api('publish', { channel: 'open:news', data: 'x'.repeat(70000) }).catch((e) => ({ error: e }));
  assert.ok(r.error, 'a publication over limits.message');
  await until('the limit', async () => (await page.locator('[data-limit]').count()) > 0);
  assert.deepEqual(errors, []);
});
