// A data directory on disk: where it lies, how it is made, and who else may be using it.

import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { MillraceError } from '../../core/errors.ts'
import { serverEnvironment } from './embedded-postgres-process.ts'
import { canReach, type ServerUser } from './embedded-postgres-user.ts'

const run = promisify(execFile)

/** What must outlive a restart; kept inside the data directory, readable by the server's user only. */
export interface ClusterNotes {
  readonly password: string
  /** The port of the last run, so that DATABASE_URL stays the same while the port stays free. */
  readonly port?: number | undefined
}

const NOTES = 'millrace.json'

/** Where data is kept unless told otherwise, below the working directory. */
export const DATA_DIR = join('.millrace', 'pg')

/** The folder for a server that keeps its data: `.millrace/pg` of the project, or a system folder if root's project is closed to others. */
export async function persistentFolder(user: ServerUser, dataDir?: string): Promise<string> {
  const wanted = resolve(dataDir ?? DATA_DIR)
  if (await canReach(user, wanted)) return wanted
  if (dataDir === undefined) {
    const project = createHash('sha256').update(process.cwd()).digest('hex').slice(0, 12)
    return join('/var/lib/millrace', `pg-${project}`)
  }
  throw new MillraceError('invalid_configuration', `The server's user (${user.uid}) cannot enter ${dirname(wanted)}`, {
    hint: 'Postgres does not run as root: choose a data directory that other users can reach, such as /var/lib/millrace/pg.',
  })
}

/** A folder for a server that is thrown away. */
export async function temporaryFolder(user: ServerUser): Promise<string> {
  const wanted = join(tmpdir(), 'millrace-pg-')
  const folder = await mkdtemp((await canReach(user, wanted)) ? wanted : '/tmp/millrace-pg-')
  await give(user, folder)
  return folder
}

/** Makes the cluster unless it is there; all or nothing, so that an interrupted start leaves no half of one. */
export async function ensureCluster(home: string, user: ServerUser, dataDir: string, flags: string[]): Promise<void> {
  if (await hasCluster(dataDir)) return
  await makeParent(user, dataDir)
  const work = await mkdtemp(`${dataDir}.new-`)
  try {
    await give(user, work)
    await initialise(home, user, work, flags)
    await rename(join(work, 'data'), dataDir).catch(async error => {
      // Another process made it in the meantime?
      if (!(await hasCluster(dataDir))) throw error
    })
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function hasCluster(dataDir: string): Promise<boolean> {
  const names: string[] = await readdir(dataDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw unusable(dataDir, error.message, error)
  })
  if (names.length === 0 || names.includes('PG_VERSION')) return names.length > 0
  throw unusable(dataDir, 'it holds something else')
}

const unusable = (dataDir: string, problem: string, cause?: unknown): MillraceError =>
  new MillraceError('invalid_configuration', `${dataDir} cannot be a data directory: ${problem}`, {
    hint: 'Choose a folder that does not exist yet, or an empty one.',
    cause,
  })

/** A strict umask of root's must not shut the server's user out of folders that root has just made for it. */
async function makeParent(user: ServerUser, dataDir: string): Promise<void> {
  const parent = dirname(dataDir)
  const first = await mkdir(parent, { recursive: true }).catch(error => {
    throw unusable(dataDir, error.message, error)
  })
  if (first === undefined || user.uid === undefined) return
  for (let folder = parent; ; folder = dirname(folder)) {
    await chmod(folder, 0o755)
    if (folder === first) return
  }
}

async function initialise(home: string, user: ServerUser, work: string, flags: string[]): Promise<void> {
  const password = randomBytes(18).toString('base64url')
  const passwordFile = join(work, 'password')
  await writePrivately(user, passwordFile, `${password}\n`)
  const data = join(work, 'data')
  const shape = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  const access = ['--username=postgres', '--auth=scram-sha-256', `--pwfile=${passwordFile}`]
  const options = { ...user, cwd: '/', env: serverEnvironment() }
  await run(join(home, 'bin', 'initdb'), ['-D', data, ...shape, ...access, ...flags], options)
  await writeNotes(user, data, { password })
}

/** @throws {MillraceError} `invalid_configuration` when the folder holds a cluster that is not one of ours */
export async function readNotes(dataDir: string): Promise<ClusterNotes> {
  try {
    return JSON.parse(await readFile(join(dataDir, NOTES), 'utf8')) as ClusterNotes
  } catch (cause) {
    throw new MillraceError(
      'invalid_configuration',
      `${dataDir} is not a data directory that this user made with Millrace`,
      {
        hint: 'Choose another folder, or run as the user who made it.',
        cause,
      },
    )
  }
}

export const writeNotes = (user: ServerUser, dataDir: string, notes: ClusterNotes): Promise<void> =>
  writePrivately(user, join(dataDir, NOTES), JSON.stringify(notes))

async function writePrivately(user: ServerUser, path: string, text: string): Promise<void> {
  const work = `${path}.${process.pid}`
  await writeFile(work, text, { mode: 0o600 })
  await give(user, work)
  await rename(work, path)
}

async function give(user: ServerUser, path: string): Promise<void> {
  if (user.uid !== undefined && user.gid !== undefined) await chown(path, user.uid, user.gid)
}

/**
 * Refuses a directory that a live server uses, and disarms a lock file whose process id now belongs to some other
 * program (a restarted container hands the same few ids out again).
 *
 * @throws {MillraceError} `data_directory_in_use`
 */
export async function checkLock(dataDir: string): Promise<void> {
  const path = join(dataDir, 'postmaster.pid')
  const lines = (await readFile(path, 'utf8').catch(() => '')).split('\n')
  const pid = Number(lines[0])
  if (!pid || !isAlive(pid)) return
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => undefined)
  const program = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => undefined)
  const stranger = program !== undefined && program.trim() !== 'postgres'
  const elsewhere = folder !== undefined && folder !== (await realpath(dataDir))
  if (!stranger && !elsewhere) throw inUse(dataDir, pid, lines[3])
  // Postgres takes a lock of its parent's id as stale, and still checks for surviving sessions in shared memory.
  await writeFile(path, [process.pid, ...lines.slice(1)].join('\n'))
  await chmod(path, 0o600)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Another server has the directory. */
function inUse(dataDir: string, pid: number, port: string | undefined): MillraceError {
  return new MillraceError('data_directory_in_use', `Another server (process ${pid}, port ${port}) uses ${dataDir}`, {
    hint: 'Use that server, stop it, or choose another data directory.',
  })
}
