// The version of the package that this program belongs to.

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** From the package.json above this file, which lies deeper when built than in the sources. */
export function packageVersion(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    const found = readManifest(join(folder, 'package.json'))
    if (found?.name === 'millrace') return found.version
  }
  return 'unknown'
}

function readManifest(path: string): { name: string; version: string } | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}
