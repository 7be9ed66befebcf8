// Completes package-lock.json after an `npm install` from a registry that lacks some packages of other platforms.
//
// npm leaves an optional package that it cannot find out of the lockfile, and `npm ci` then refuses that lockfile as
// incomplete. This adds the missing ones by the name and version that their dependents ask for; `os` and `cpu` come from
// the name, so that `npm ci` skips them wherever they do not belong. Run it after every change of the dependencies:
//   node .ci/complete-lockfile.mjs

import { readFileSync, writeFileSync } from 'node:fs'

const OS = [
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
  'windows',
  'aix',
]
const CPU = ['arm64', 'arm', 'x64', '64', 'ia32', 'ppc64', 'riscv64', 's390x', 'loong64', 'mips64el', 'wasm32']
const NAMES = { windows: 'win32', 64: 'x64' }

const path = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(path, 'utf8'))
const added = []

for (const [place, dependent] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(dependent.optionalDependencies ?? {})) {
    if (found(place, name)?.version === version || !/^\d/.test(version)) continue
    const flat = `node_modules/${name}`
    lock.packages[lock.packages[flat] ? `${place}/${flat}` : flat] = entry(name, version, dependent)
    added.push(`${name}@${version}`)
  }
}

/** Looks a name up as Node does: in the package's own node_modules, then in those around it. */
function found(place, name) {
  for (let at = place; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules/') - 1))) {
    const entry = lock.packages[at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`]
    if (entry !== undefined || at === '') return entry
  }
}

function entry(name, version, { dev, license }) {
  const words = name.split(/[/-]/)
  const os = words.find(word => OS.includes(word))
  const cpu = words.find(word => CPU.includes(word))
  return {
    version,
    cpu: [NAMES[cpu] ?? cpu ?? 'none'],
    ...(dev && { dev }),
    license,
    ...(words.includes('musl') && { libc: ['musl'] }),
    optional: true,
    os: [NAMES[os] ?? os ?? 'none'],
  }
}

lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
console.log(added.length === 0 ? 'nothing was missing' : `added ${added.join(', ')}`)
