// Three nodes of the real binary, and one address in front of them.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { API_KEY, environment, freePort, SECRET } from './server.mjs';

const bin = process.env.MYELIN_BIN;

const common = (peers) => `
admin: {listen: ""}
auth: {anonymous: true, tokens: {hmac_secret: ${SECRET}}}
api: {key: ${API_KEY}}
drain: {grace: 0}
cluster:
  secret: a-secret-of-the-nodes-in-a-test
  peers: [${peers.map((p) => `"127.0.0.1:${p}"`).join(', ')}]
namespaces:
  open:
    history: {size: 10000, ttl: 10m}
    presence: true
    join_leave: true
    subscribe: [anonymous]
    publish: [anonymous]
    read_presence: [anonymous]
    read_history: [anonymous]
`;

/** Node is one process of a cluster. */
export class Node {
  constructor({ name, port, args }) {
    Object.assign(this, { name, port, args, log: '' });
  }

  run() {
    this.process = spawn(bin, this.args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = new Promise((resolve) => this.process.on('exit', (code, signal) => resolve({ code, signal })));
    for (const out of [this.process.stdout, this.process.stderr]) {
      out.on('data', (b) => { this.log = (this.log + b).slice(-65536); });
    }
  }

  async signal(name) {
    this.process.kill(name);
    return this.exited;
  }

  /** api calls the HTTP API; it throws what went wrong. */
  async api(method, params) { return call(this.port, method, params); }

  /** peers returns the names of the nodes that this one knows, itself included. */
  async peers() {
    try {
      return (await this.api('info', {})).nodes.map((n) => n.name).sort();
    } catch {
      return [];
    }
  }
}

/**
 * call calls the HTTP API at a port of this machine. What it throws has the code
 * of the API's error, and none where no answer came.
 */
export async function call(port, method, params) {
  let body;
  try {
    const r = await fetch(`http://127.0.0.1:${port}/api/${method}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-API-Key': API_KEY },
      body: JSON.stringify(params),
      signal: AbortSignal.timeout(15000),
    });
    body = await r.json();
  } catch (e) {
    throw new Error(`${method}: no answer`, { cause: e });
  }
  if (body.error) throw Object.assign(new Error(body.error.message), body.error);
  return body.result;
}

// Codes of errors that pass: a leader that has to be elected, a node that went.
const passing = [undefined, 100, 1000, 1002];

/** insist does what a cluster that loses a node refuses for some seconds. */
export async function insist(what, ms = 60000) {
  for (const end = Date.now() + ms; ;) {
    try {
      return await what();
    } catch (e) {
      if (!passing.includes(e.code) || Date.now() > end) throw e;
      await new Promise((r) => setTimeout(r, 100));
    }
  }
}

/** Cluster is three nodes that share their channels. */
export class Cluster {
  /** start starts them as servers, with more namespaces and, before them, more keys. */
  static async start({ keys = '', namespaces = '' } = {}) {
    return Cluster.launch(({ dir, peers }) => {
      const file = join(dir, 'myelin.yaml');
      writeFileSync(file, `${keys}${common(peers)}${namespaces}`);
      return ['serve', '--config', file];
    });
  }

  /** demo starts them as servers of the demo, without its feeds. */
  static async demo() {
    return Cluster.launch(({ peers }) => [
      'demo', '--no-feeds', '--set', 'admin.listen=', '--set', 'cluster.secret=a-secret-of-the-nodes-in-a-test',
      '--set', `cluster.peers=[${peers.map((p) => `"127.0.0.1:${p}"`).join(', ')}]`,
    ]);
  }

  /** launch starts them with what command says of the whole. */
  static async launch(command) {
    const c = new Cluster();
    c.dir = mkdtempSync(join(tmpdir(), 'myelin-e2e-cluster-'));
    const ports = [];
    while (ports.length < 6) ports.push(await freePort());
    const first = command({ dir: c.dir, peers: ports.slice(3) });
    c.nodes = [0, 1, 2].map((i) => new Node({
      name: `n${i}`,
      port: ports[i],
      args: [...first, '--data', join(c.dir, `n${i}`),
        '--set', `node=n${i}`, '--set', `listen=127.0.0.1:${ports[i]}`, '--set', `cluster.listen=127.0.0.1:${ports[3 + i]}`],
    }));
    for (const n of c.nodes) n.run();
    try {
      await c.whole();
    } catch (e) {
      await c.stop(); // nobody else knows of them
      throw e;
    }
    return c;
  }

  /** whole waits until each node knows the others. */
  async whole(ms = 60000) {
    const end = Date.now() + ms;
    for (;;) {
      const known = await Promise.all(this.nodes.map((n) => n.peers()));
      if (known.every((k) => k.join() === 'n0,n1,n2')) return;
      if (Date.now() > end) {
        throw new Error(`the nodes know ${JSON.stringify(known)}\n${this.nodes.map((n) => `${n.name}:\n${n.log}`).join('\n')}`);
      }
      await new Promise((r) => setTimeout(r, 100));
    }
  }

  async stop() {
    await Promise.all(this.nodes.map((n) => n.signal('SIGKILL')));
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/**
 * Balancer is one address in front of nodes. Each connection goes to the next
 * node that accepts it; nothing is sticky.
 */
export class Balancer {
  static async start(nodes) {
    const b = new Balancer();
    b.nodes = nodes;
    b.turn = 0;
    b.pairs = new Set();
    b.waiting = new Set(); // for a node
    b.server = createServer((client) => b.join(client, nodes.length));
    await new Promise((resolve) => b.server.listen(0, '127.0.0.1', resolve));
    b.port = b.server.address().port;
    return b;
  }

  join(client, tries) {
    const node = this.nodes[this.turn++ % this.nodes.length];
    const up = connect(node.port, '127.0.0.1');
    this.waiting.add(client);
    client.on('error', () => up.destroy());
    up.once('error', () => {
      this.waiting.delete(client);
      if (tries > 1 && !client.destroyed) this.join(client, tries - 1);
      else client.destroy();
    });
    up.once('connect', () => {
      up.removeAllListeners('error');
      this.waiting.delete(client);
      if (client.destroyed) {
        up.destroy();
        return;
      }
      const pair = [client, up];
      pair.node = node;
      client.once('data', (b) => { pair.head = b.toString('latin1'); });
      this.pairs.add(pair);
      const end = () => {
        this.pairs.delete(pair);
        client.destroy();
        up.destroy();
      };
      for (const s of pair) {
        s.setNoDelay(true);
        s.on('error', end);
        s.on('close', end);
      }
      client.pipe(up);
      up.pipe(client);
    });
  }

  /** holding returns the node of a connection whose first bytes match. */
  holding(pattern) {
    for (const pair of this.pairs) if (pattern.test(pair.head ?? '')) return pair.node;
    return undefined;
  }

  /** cut resets every connection, so that its client goes to another node. */
  cut() {
    for (const [client, up] of this.pairs) {
      client.resetAndDestroy();
      up.destroy();
    }
    this.pairs.clear();
  }

  http(path) { return `http://127.0.0.1:${this.port}${path}`; }
  ws(path) { return `ws://127.0.0.1:${this.port}${path}`; }

  async stop() {
    this.cut();
    for (const client of this.waiting) client.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
