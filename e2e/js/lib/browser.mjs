// Chromium without a head, and pictures of what it shows.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const flags = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
// Screenshots are kept where SHOTS says, to be looked at.
const shots = process.env.SHOTS || mkdtempSync(join(tmpdir(), 'myelin-shots-'));

/** browse starts a browser. */
export function browse() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: flags, timeout: 120000 });
}

/** shot takes a picture of a page. */
export async function shot(page, name) {
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, name) });
}

/** forgetShots removes the pictures that nobody asked for. */
export function forgetShots() {
  if (!process.env.SHOTS) rmSync(shots, { recursive: true, force: true });
}
