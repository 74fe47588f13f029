// The page of the demo on three nodes behind one address: the node that it is
// connected to is killed, and the page goes on with another.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { browse, forgetShots, shot } from '../lib/browser.mjs';
import { until } from '../lib/clients.mjs';
import { Balancer, Cluster } from '../lib/cluster.mjs';
import { environment } from '../lib/server.mjs';

let cluster;
let address;
let feeds;
let browser;
let page;
const errors = [];
before(async () => {
  cluster = await Cluster.demo();
  address = await Balancer.start(cluster.nodes);
  feeds = spawn(process.env.MYELIN_BIN, ['demo', '--feeds-to', address.ws('/connection/websocket')], { env: environment, stdio: 'ignore' });
  browser = await browse();
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.on('pageerror', (e) => errors.push(e.message));
  await page.goto(address.http('/'));
});
after(async () => {
  await browser?.close();
  feeds?.kill('SIGKILL');
  await address?.stop();
  await cluster?.stop();
  forgetShots();
});

const id = (name) => page.locator(`[data-testid="${name}"]`).first();
const samples = async () => Number(await id('ecg').getAttribute('data-samples'));
const connected = () => until('connected', async () => (await id('status').getAttribute('data-state')) === 'connected', 30000);
const outages = async () => Number(await id('recovery-log').getAttribute('data-outages'));

// A page's WebSocket says where the page is from; the feeds have no page.
const pageSocket = /^GET \/connection\/websocket[^]*\r\norigin: /i;

test('the node of the page is killed, and the page heals', async () => {
  await connected();
  await until('3 s of samples', async () => (await samples()) > 3 * 360, 60000);
  const node = address.holding(pageSocket);
  assert.ok(node, 'a node holds the page');
  const before = await outages();
  await node.signal('SIGKILL');
  await until('the log', async () => (await outages()) > before, 30000);
  await connected();
  const from = await samples();
  await until('the ECG goes on', async () => (await samples()) > from + 3 * 360, 60000);
  // Where the node led what holds a channel, another has to be elected first.
  const verdicts = () => page.locator('[data-testid="recovery-log"] li').evaluateAll((all) => all.map((li) => li.dataset.outcome));
  await until('the verdicts', async () => (await verdicts()).every((v) => v !== 'waiting'), 30000);
  assert.deepEqual(new Set(await verdicts()), new Set(['recovered']), await id('recovery-log').innerText());
  await until('channels', async () => (await id('channel-list').innerText()).includes('bed1.ecg'), 20000);
  // One outage: no channel that waits takes the connection with it.
  assert.equal(await outages(), before + 1, await id('recovery-log').innerText());
  await shot(page, 'cluster.png');
  node.run();
  await cluster.whole();
});

test('nothing went wrong in the page of the cluster', () => assert.deepEqual(errors, []));
