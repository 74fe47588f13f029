// The unmodified npm clients, by every transport they have.
import { Centrifuge } from 'centrifuge';
import { Centrifuge as CentrifugeProtobuf } from 'centrifuge/build/protobuf';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';

const text = new TextEncoder();
const fromBytes = new TextDecoder();

const json = { Client: Centrifuge, encode: (x) => x, decode: (x) => x };
const protobuf = {
  Client: CentrifugeProtobuf,
  encode: (x) => text.encode(JSON.stringify(x)),
  decode: (b) => JSON.parse(fromBytes.decode(b)),
};

const websocket = (at) => [at.ws('/connection/websocket'), { websocket: WebSocket }];
const stream = (at) => [
  [{ transport: 'http_stream', endpoint: at.http('/connection/http_stream') }],
  { fetch, readableStream: ReadableStream, emulationEndpoint: at.http('/emulation') },
];
const sse = (at) => [
  [{ transport: 'sse', endpoint: at.http('/connection/sse') }],
  { eventsource: EventSource, fetch, emulationEndpoint: at.http('/emulation') },
];

/** transports are all the ways the npm client has, with its codecs. */
export const transports = [
  { name: 'WebSocket, JSON', ...json, open: websocket },
  { name: 'WebSocket, Protobuf', ...protobuf, open: websocket },
  { name: 'HTTP streaming, JSON', ...json, open: stream },
  { name: 'HTTP streaming, Protobuf', ...protobuf, open: stream },
  { name: 'SSE', ...json, open: sse },
];

/**
 * PATIENCE is how long is waited, in milliseconds, for what has to come: a
 * machine that is busy with something else may stand still for seconds.
 */
export const PATIENCE = 30000;

/** connect returns a connected client of a transport through at. */
export async function connect(t, at, options = {}) {
  const c = client(t, at, options);
  c.connect();
  await c.ready(PATIENCE);
  return c;
}

/** client returns a client that is not connected yet. */
export function client(t, at, options = {}) {
  const [endpoint, own] = t.open(at);
  const c = new t.Client(endpoint, { minReconnectDelay: 5, maxReconnectDelay: 50, ...own, ...options });
  c.on('error', () => {});
  return c;
}

/** once waits for one event. */
export function once(emitter, event, ms = PATIENCE) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} within ${ms} ms`)), ms);
    emitter.once(event, (ctx) => {
      clearTimeout(timer);
      resolve(ctx);
    });
  });
}

/** until waits until a condition holds. */
export async function until(what, condition, ms = PATIENCE) {
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((r) => setTimeout(r, 5));
  }
}
