// Which operating-system user the embedded server runs as: Postgres refuses to run as root.

import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { MillraceError } from '../../core/errors.ts'

/** Undefined ids mean: the user of this process. */
export interface ServerUser {
  readonly uid?: number
  readonly gid?: number
}

/**
 * The user to drop to. Nothing is added to the system: root takes the owner of an existing data directory, else
 * `postgres` if there is one, else `nobody`.
 */
export async function serverUser(dataDir: string): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return {}
  const owner = await stat(dataDir).catch(() => undefined)
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid }
  const users = parsePasswd(await readFile('/etc/passwd', 'utf8').catch(() => ''))
  const chosen = users.get('postgres') ?? users.get('nobody') ?? [...users.values()].find(user => user.uid > 0)
  if (chosen) return chosen
  throw new MillraceError('unavailable', 'Postgres does not run as root, and this system has no other user', {
    hint: 'Run this as an ordinary user, or give the URL of a server of your own in DATABASE_URL.',
  })
}

/** initdb looks its user up by name, so only users listed here will do. */
function parsePasswd(text: string): Map<string, { uid: number; gid: number }> {
  const users = new Map<string, { uid: number; gid: number }>()
  for (const line of text.split('\n')) {
    const [name, , uid, gid] = line.split(':')
    const user = { uid: Number(uid), gid: Number(gid) }
    if (name && uid && user.uid > 0 && user.gid > 0) users.set(name, user)
  }
  return users
}

/** Whether the server's user gets to `path` through all the folders above it. `path` itself need not exist yet. */
export async function canReach(user: ServerUser, path: string): Promise<boolean> {
  if (user.uid === undefined) return true
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => undefined)
    if (found && !maySearch(user, found)) return false
    if (folder === dirname(folder)) return true
  }
}

function maySearch(user: ServerUser, folder: { uid: number; gid: number; mode: number }): boolean {
  if (folder.uid === user.uid) return (folder.mode & 0o100) !== 0
  if (folder.gid === user.gid) return (folder.mode & 0o010) !== 0
  return (folder.mode & 0o001) !== 0
}
