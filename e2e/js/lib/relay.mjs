// A TCP relay that can cut every connection through it.
import { connect, createServer } from 'node:net';

export class Relay {
  static async start(target) {
    const r = new Relay();
    r.pairs = new Set();
    r.target = target;
    r.refusing = false;
    r.server = createServer((a) => r.join(a));
    await new Promise((resolve) => r.server.listen(0, '127.0.0.1', resolve));
    r.port = r.server.address().port;
    return r;
  }

  join(a) {
    if (this.refusing) {
      a.destroy();
      return;
    }
    const b = connect(this.target, '127.0.0.1');
    const pair = [a, b];
    this.pairs.add(pair);
    const end = () => {
      this.pairs.delete(pair);
      a.destroy();
      b.destroy();
    };
    for (const s of pair) {
      s.setNoDelay(true);
      s.on('error', end);
      s.on('close', end);
    }
    a.pipe(b);
    b.pipe(a);
  }

  /** cut resets every connection; while refusing is set new ones are too. */
  cut() {
    for (const [a, b] of this.pairs) {
      a.resetAndDestroy();
      b.destroy();
    }
    this.pairs.clear();
  }

  http(path) { return `http://127.0.0.1:${this.port}${path}`; }
  ws(path) { return `ws://127.0.0.1:${this.port}${path}`; }

  async stop() {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
