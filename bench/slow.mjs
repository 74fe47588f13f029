// What bench/slow.sh runs: 500 readers of 20 channels, of which one stops reading
// in every other round. That one also has a channel of its own, with enough in
// it that what the kernel holds for it is full at once.
import { createRequire } from 'node:module';
const require = createRequire(new URL('../e2e/js/package.json', import.meta.url));
const WebSocket = require('ws');

const READERS = 500;
const KEYS = 20;
const SECONDS = 4;
const at = '127.0.0.1:18733';
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

/** reader connects and subscribes, as the protocol has it. */
function reader(_, flooded = false) {
  const names = Array.from({ length: KEYS }, (_, i) => `prices:k${i}`);
  if (flooded) names.push('prices:flood');
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(`ws://${at}/connection/websocket`);
    const r = { ws, took: [], knows: {}, told: 0 };
    ws.on('error', reject);
    ws.on('close', (code) => { r.closed = code; });
    const subscribe = names.map((name, i) => `\n{"id":${names.length + 1 - i},"subscribe":{"channel":"${name}"}}`);
    ws.on('open', () => ws.send(`{"id":1,"connect":{}}${subscribe.join('')}`));
    ws.on('message', (b) => {
      for (const line of b.toString().split('\n')) {
        const m = line && JSON.parse(line);
        if (!m) continue;
        if (m.id === 2) m.error ? reject(new Error(JSON.stringify(m.error))) : resolve(r);
        if (!m.id && !m.push) ws.send('{}');
        const pub = m.push?.pub;
        if (pub?.data.key) {
          r.took.push(Date.now() - pub.data.at);
          r.knows[pub.data.key] = pub.data.n;
        }
        if (m.push?.message?.data?.myelin?.slow) r.told += m.push.message.data.myelin.slow.skipped;
      }
    });
  });
}

async function publish(name, data) {
  const r = await fetch(`http://${at}/api/publish`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ channel: `prices:${name}`, data }) });
  const body = await r.json();
  if (body.error) throw new Error(JSON.stringify(body.error));
}

for (let i = 0; ; i++) {
  try { await fetch(`http://${at}/`); break; } catch (e) { if (i > 100) throw e; await sleep(50); }
}
const readers = [];
while (readers.length < READERS) readers.push(...await Promise.all(Array.from({ length: 50 }, reader)));
const [stuck, ...others] = [await reader(0, true), ...readers.slice(1)];
const p99s = { without: [], with: [] };
let n = 0;
for (let round = 0; round < 2 * Number(process.argv[2]); round++) {
  const way = round % 2 ? 'with' : 'without';
  for (const r of others) r.took.length = 0;
  if (way === 'with') {
    stuck.ws.pause();
    for (let i = 0; i < 40; i++) await Promise.all(Array.from({ length: 8 }, () => publish('flood', { pad: 'x'.repeat(60000) })));
    await sleep(1000);
  }
  for (const end = Date.now() + 1000 * SECONDS; Date.now() < end; await sleep(30)) {
    n++;
    const key = `k${n % KEYS}`;
    await publish(key, { key, n, at: Date.now(), pad: 'x'.repeat(200) });
    if (n % 4 === 0) await publish('flood', { pad: 'x'.repeat(60000) });
  }
  await sleep(300);
  const all = others.flatMap((r) => r.took).sort((a, b) => a - b);
  p99s[way].push(all[Math.floor(all.length * 0.99)]);
  stuck.ws.resume();
  await sleep(1000);
}
const median = (l) => l.toSorted((a, b) => a - b)[Math.floor(l.length / 2)];
for (const way of ['without', 'with']) {
  console.log(`p99 of 499 ${way} one that does not read: median ${median(p99s[way])} ms, rounds ${p99s[way].join(' ')} ms`);
}
const same = Object.keys(others[0].knows).every((k) => stuck.knows[k] === others[0].knows[k]);
console.log(`the one that did not read: ${same ? 'newest of every key' : 'STALE'}, ${stuck.told} of ${n} skipped and told, ${stuck.closed ? `closed ${stuck.closed}` : 'never disconnected'}`);
process.exit(same ? 0 : 1);
