// The two ends of bench/lanes.sh.
import { createRequire } from 'node:module';
const require = createRequire(new URL('../e2e/js/package.json', import.meta.url));
const { Centrifuge } = require('centrifuge');
const { EventSource } = require('eventsource');
const WebSocket = require('ws');

const [role, host, seconds, transport = 'websocket'] = process.argv.slice(2);
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const http = (path) => `http://${host}:8000${path}`;
const [endpoint, own] = {
  websocket: () => [`ws://${host}:8000/connection/websocket`, { websocket: WebSocket }],
  sse: () => [[{ transport: 'sse', endpoint: http('/connection/sse') }], { eventsource: EventSource, fetch, emulationEndpoint: http('/emulation') }],
  http_stream: () => [[{ transport: 'http_stream', endpoint: http('/connection/http_stream') }], { fetch, readableStream: ReadableStream, emulationEndpoint: http('/emulation') }],
}[transport]();
const c = new Centrifuge(endpoint, { ...own, minReconnectDelay: 50, maxReconnectDelay: 100 });
c.on('error', () => {});
c.connect();
await c.ready(10000);
const end = Date.now() + 1000 * seconds;

if (role === 'publish') {
  await sleep(1000);
  const data = 'x'.repeat(1000);
  for (let n = 0; Date.now() < end; n++) {
    // Some 400 kB/s of bulk, where the link takes 250, and an alarm each 150 ms.
    for (let i = 0; i < 4; i++) c.publish('bulk:x', { data }).catch(() => {});
    if (n % 15 === 0) c.publish('alarm:x', { at: Date.now() }).catch(() => {});
    await sleep(10);
  }
} else {
  let bytes = 0;
  const took = [];
  let dropped = 0;
  const settled = Date.now() + 4000;
  c.on('message', (m) => { dropped += m.data?.myelin?.slow?.skipped ?? 0; });
  const bulk = c.newSubscription('bulk:x');
  bulk.on('publication', (p) => { if (Date.now() > settled) bytes += p.data.data.length; });
  const alarm = c.newSubscription('alarm:x');
  alarm.on('publication', (p) => { if (Date.now() > settled) took.push(Date.now() - p.data.at); });
  bulk.subscribe();
  alarm.subscribe();
  await sleep(end - Date.now());
  took.sort((a, b) => a - b);
  const at = (q) => took[Math.min(took.length - 1, Math.floor(q * took.length))];
  const rate = bytes / (Date.now() - settled);
  console.log(`alarms ${took.length}: p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, max ${took.at(-1)} ms; bulk ${rate.toFixed(1)} kB/s; ${dropped} dropped and told`);
}
c.disconnect();
process.exit(0);
