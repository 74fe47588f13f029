// The real binary, started for a test and stopped with it.
import { spawn } from 'node:child_process';
import { createHmac, randomInt } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const SECRET = 'an-e2e-secret-that-is-long-enough-for-hs256';
export const API_KEY = 'an-e2e-api-key-0123456789';

// The server takes every MYELIN_ variable for configuration, and these are none.
const { MYELIN_BIN: bin, MYELIN_ENGINE = '', ...rest } = process.env;
export const environment = rest;
/** engine keeps the channels of every server, '' where each test says which. */
export const engine = MYELIN_ENGINE;
if (!bin) throw new Error('MYELIN_BIN must name the myelin binary');
if (!['', 'memory', 'disk', 'jetstream'].includes(engine)) throw new Error(`MYELIN_ENGINE is ${engine}, and no engine`);

/**
 * keeps says whether a server still has its channels after kill -9. usually is
 * so where MYELIN_ENGINE does not say which engine keeps them, and each test's
 * configuration does.
 */
export const keeps = (usually) => (engine === '' ? usually : engine !== 'memory');

// The system gives none of these to who asks for any port, and connections do
// not begin at them: what is free stays so until it is listened on, also while
// a server that had it is killed and started again.
const PORTS = [10240, 32767];
const given = new Set();

/** freePort returns a port that is free now; another one with each call. */
export async function freePort() {
  for (;;) {
    const port = randomInt(PORTS[0], PORTS[1] + 1);
    if (given.has(port)) continue;
    given.add(port);
    const s = createServer();
    const free = await new Promise((resolve) => {
      s.once('error', () => resolve(false));
      s.listen(port, '127.0.0.1', () => s.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

const config = (port) => `
listen: 127.0.0.1:${port}
admin: {listen: ""}
auth:
  anonymous: true
  allowed_origins: ["http://allowed.example"]
  tokens: {hmac_secret: ${SECRET}}
api: {key: ${API_KEY}}
drain: {grace: 0}
namespaces:
  open:
    history: {size: 1000, ttl: 5m}
    presence: true
    join_leave: true
    subscribe: [anonymous]
    publish: [anonymous]
    read_presence: [anonymous]
    read_history: [anonymous]
  short:
    history: {size: 5, ttl: 5m}
    subscribe: [anonymous]
    publish: [anonymous]
  plain:
    subscribe: [anonymous]
    publish: [anonymous]
  members:
    history: {size: 100, ttl: 5m}
    presence: true
    subscribe: [user]
    publish: [subscriber]
  private:
    history: {size: 100, ttl: 5m}
    subscribe: [token]
    publish: [nobody]
`;

export class Server {
  /** start starts it. config is its configuration: text, or what makes it of its port and a directory of its own. */
  static async start({ port, args, env, config: text = config } = {}) {
    const s = new Server();
    s.port = port ?? (await freePort());
    s.dir = mkdtempSync(join(tmpdir(), 'myelin-e2e-'));
    s.file = join(s.dir, 'myelin.yaml');
    writeFileSync(s.file, typeof text === 'function' ? text(s.port, s.dir) : text);
    s.args = args ?? ['serve', '--config', s.file];
    s.env = env ?? {};
    if (engine && s.args[0] === 'serve') {
      s.args = [...s.args, '--set', `engine.kind=${engine}`];
      if (engine !== 'memory') s.args.push('--data', join(s.dir, 'data'));
    }
    await s.run();
    return s;
  }

  /** run starts the process and waits until it serves clients. */
  async run(ms = 60000) {
    this.log = '';
    this.process = spawn(bin, this.args, { env: { ...environment, ...this.env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = new Promise((resolve) => this.process.on('exit', (code, signal) => resolve({ code, signal })));
    for (const out of [this.process.stdout, this.process.stderr]) {
      out.on('data', (b) => { this.log = (this.log + b).slice(-65536); });
    }
    let gone = false;
    this.exited.then(() => { gone = true; });
    for (const end = Date.now() + ms; Date.now() < end;) {
      if (gone) throw new Error(`the server ended:\n${this.log}`);
      try {
        const r = await fetch(this.http('/'), { signal: AbortSignal.timeout(5000) });
        await r.arrayBuffer();
        if (r.status !== 503) return; // it listens before its engine is there
      } catch { /* not yet */ }
      await new Promise((r) => setTimeout(r, 20));
    }
    throw new Error(`the server does not answer:\n${this.log}`);
  }

  http(path) { return `http://127.0.0.1:${this.port}${path}`; }
  ws(path) { return `ws://127.0.0.1:${this.port}${path}`; }

  /** signal ends the process and waits for it. */
  async signal(name = 'SIGTERM') {
    this.process.kill(name);
    return this.exited;
  }

  async stop() {
    await this.signal('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** api calls the HTTP API and returns the result, or throws the error. */
  async api(method, params) {
    const r = await fetch(this.http(`/api/${method}`), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-API-Key': API_KEY },
      body: JSON.stringify(params),
    });
    const body = await r.json();
    if (body.error) throw Object.assign(new Error(body.error.message), body.error);
    return body.result;
  }
}

const b64 = (x) => Buffer.from(x).toString('base64url');

/** token signs claims with the server's secret (or another), by HS256. */
export function token(claims, secret = SECRET) {
  const text = `${b64('{"alg":"HS256","typ":"JWT"}')}.${b64(JSON.stringify(claims))}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

/** inSeconds is a claim's time from now. */
export const inSeconds = (n) => Math.floor(Date.now() / 1000) + n;
