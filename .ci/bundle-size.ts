// Bundles what runs on the edge as wrangler does for a deployment, and checks how large that is, gzipped.

import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'

const root = resolve(import.meta.dirname, '..')
const wrangler = join(dirname(createRequire(import.meta.url).resolve('wrangler/package.json')), 'bin/wrangler.js')
const folder = mkdtempSync(join(tmpdir(), 'millrace-size-'))

/** In kilobytes of 1,000 bytes. With the settings that a Worker's own configuration has. */
const LIMITS = [
  { what: 'the callbacks Worker', entry: 'examples/cloudflare/callbacks.ts', most: 100 },
  { what: 'the maintenance Worker', entry: 'examples/cloudflare/maintenance.ts', most: 120 },
  { what: 'the API Worker', entry: 'examples/cloudflare/api.ts', most: 140 },
  { what: 'the enqueue client', entry: 'test/edge/enqueue.ts', most: 15 },
]

/** No questions, no network, no traces in the home folder. */
const offline = {
  ...{ CI: '1', HOME: folder, XDG_CONFIG_HOME: folder, CLOUDFLARE_CF_FETCH_ENABLED: 'false' },
  ...{ WRANGLER_SEND_METRICS: 'false', WRANGLER_WRITE_LOGS: 'false', WRANGLER_LOG: 'error' },
}

/** A copy: wrangler keeps files beside it. The client alone needs no setting but a name. */
function configurationOf(entry: string): string {
  const copy = join(folder, 'wrangler.jsonc')
  const plain = { name: 'size', compatibility_date: '2026-01-01', minify: true }
  if (entry.startsWith('examples/')) copyFileSync(join(root, entry.replace(/\.ts$/, '.jsonc')), copy)
  else writeFileSync(copy, JSON.stringify(plain))
  return copy
}

function kilobytes(entry: string): number {
  const flags = ['--dry-run', '--config', configurationOf(entry), '--outdir', folder]
  const env = { ...process.env, ...offline }
  const args = [wrangler, 'deploy', join(root, entry), ...flags]
  execFileSync(process.execPath, args, { cwd: folder, env, stdio: ['ignore', 'ignore', 'inherit'] })
  return gzipSync(readFileSync(join(folder, `${basename(entry, '.ts')}.js`))).length / 1_000
}

try {
  for (const { what, entry, most } of LIMITS) {
    const size = kilobytes(entry)
    console.log(`${what}: ${size.toFixed(1)} KB gzipped, of at most ${most} KB`)
    if (size > most) process.exitCode = 1
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
