// The page of `myelin demo` in headless Chromium: the ECG moves, the server is
// killed and started again, the page heals and says what it missed.
import assert from 'node:assert/strict';
import { rmSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { browse, forgetShots, shot } from '../lib/browser.mjs';
import { until } from '../lib/clients.mjs';
import { freePort, Server } from '../lib/server.mjs';

let server;
let data;
let browser;
let page;
const errors = [];
before(async () => {
  const port = await freePort();
  data = mkdtempSync(join(tmpdir(), 'myelin-demo-'));
  server = await Server.start({ port, args: ['demo', '--data', data, '--set', `listen=127.0.0.1:${port}`] });
  browser = await browse();
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.on('pageerror', (e) => errors.push(e.message));
  await page.goto(server.http('/'));
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(data, { recursive: true, force: true });
  forgetShots();
});

const id = (name) => page.locator(`[data-testid="${name}"]`).first();
const samples = async () => Number(await id('ecg').getAttribute('data-samples'));
const connected = () => until('connected', async () => (await id('status').getAttribute('data-state')) === 'connected', 60000);
const outages = async () => Number(await id('recovery-log').getAttribute('data-outages'));

/** verdicts waits until the server has answered for every channel of every outage, and some were recovered. */
const verdicts = () => until('the verdicts', async () => {
  const all = await page.locator('[data-testid="recovery-log"] li').evaluateAll((lines) => lines.map((li) => li.dataset.outcome));
  return all.includes('recovered') && !all.includes('waiting');
}, 60000);

test('the ECG moves at its true rate', async () => {
  await connected();
  await until('samples', async () => (await samples()) > 0);
  // What stood still for a moment comes at once after it: over 3 s in which
  // nothing does the rate is the true one.
  const rates = [];
  await until('3 s at the true rate', async () => {
    const [from, at] = [await samples(), Date.now()];
    await until('3 s of samples', async () => (await samples()) >= from + 3 * 360);
    rates.push(((await samples()) - from) / ((Date.now() - at) / 1000));
    return rates.at(-1) > 250 && rates.at(-1) < 500;
  }, 60000).catch((e) => assert.fail(`${e.message}; ${rates} samples a second, want about 360`));
  await until('a heart rate', async () => Number(await id('bpm').innerText()) > 40);
  await shot(page, 'live.png');
});

test('the picture of the ECG changes', async () => {
  const look = () => id('ecg').evaluate((c) => c.toDataURL?.() ?? c.querySelector('canvas').toDataURL());
  const first = await look();
  await until('another picture', async () => (await look()) !== first);
});

test('telemetry, presence, chat and channels are live', async () => {
  await until('readings', async () => Number(await id('telemetry').getAttribute('data-readings')) >= 2);
  await until('presence', async () => (await id('presence-list').innerText()).length > 0);
  const say = `hello ${Date.now()}`;
  await id('chat-input').fill(say);
  await id('chat-send').click();
  await until('my words', async () => (await id('chat-log').innerText()).includes(say));
  await until('channels', async () => (await id('channel-list').innerText()).includes('bed1.ecg'));
  await id('channel-list').getByText('bed1.hr').first().click();
  await until('a tail', async () => Number(await id('tail-total').innerText()) > 0);
});

test('a cut link is healed with what was missed', async () => {
  const before = await outages();
  await id('cut').click();
  await until('the log', async () => (await outages()) > before);
  await connected();
  await verdicts();
});

test('the server is killed and started again, and the page heals', async () => {
  const before = await outages();
  await server.signal('SIGKILL');
  await until('not connected', async () => (await id('status').getAttribute('data-state')) !== 'connected');
  await shot(page, 'down.png');
  await server.run();
  await connected();
  const from = await samples();
  await until('the ECG goes on', async () => (await samples()) > from + 360, 60000);
  await until('the log', async () => (await outages()) > before);
  // The demo keeps its channels on disk: what was acknowledged before the
  // kill is there, and nothing has to be called lost.
  await verdicts();
  assert.ok(!/could not recover/.test(await id('recovery-log').innerText()), await id('recovery-log').innerText());
  await shot(page, 'healed.png');
});

for (const transport of ['http_stream', 'sse']) {
  test(`the page over ${transport}`, async () => {
    const other = await browser.newPage();
    await other.goto(server.http(`/?transport=${transport}`));
    const ecg = other.locator('[data-testid="ecg"]').first();
    await until('samples', async () => Number(await ecg.getAttribute('data-samples')) > 720, 60000);
    await other.close();
  });
}

test('nothing went wrong in the page', () => assert.deepEqual(errors, []));
