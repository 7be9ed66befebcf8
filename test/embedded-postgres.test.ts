// The embedded server: its data survives, it never outlives its starter, and nobody shares a data directory.

import { spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { expect, onTestFinished, test } from 'vitest'
import { type PostgresOptions, type RunningPostgres, startPostgres } from '../functions/node/embedded-postgres.ts'
import { startCli } from './support/cli.ts'

async function start(options: PostgresOptions): Promise<RunningPostgres> {
  const server = await startPostgres(options)
  onTestFinished(() => server.stop())
  return server
}

/** A folder that the server's user can reach, also when the tests run as root. */
async function dataFolder(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'millrace-test-'))
  onTestFinished(() => rm(parent, { recursive: true, force: true }))
  // mkdtemp makes it private; the server may run as another user.
  await chmod(parent, 0o755)
  return join(parent, 'pg')
}

async function ask<Row>(url: string, statement: string): Promise<Row[]> {
  const sql = postgres(url, { max: 1, fetch_types: false })
  try {
    return [...(await sql.unsafe<Row[] & Record<string, unknown>[]>(statement))]
  } finally {
    await sql.end()
  }
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const gone = (pid: number) => expect.poll(() => isAlive(pid), { timeout: 15_000, interval: 20 }).toBe(false)

test('a restart keeps the data, the password and the port', async () => {
  const dataDir = await dataFolder()
  const first = await startPostgres({ dataDir })
  await ask(first.url, 'create table kept as select 42 as answer')
  await first.stop()
  expect(isAlive(first.pid)).toBe(false)
  const second = await start({ dataDir })
  expect(second.url).toBe(first.url)
  expect(await ask(second.url, 'table kept')).toEqual([{ answer: 42 }])
})

test('durability is on where data is kept, off only where it is thrown away; other settings are passed on', async () => {
  const settings = (url: string) =>
    ask(
      url,
      `select string_agg(name || '=' || setting, ' ' order by name) as s from pg_settings
      where name in ('fsync', 'full_page_writes', 'synchronous_commit')`,
    )
  const kept = await start({ dataDir: await dataFolder() })
  const thrownAway = await start({ persistent: false, settings: { work_mem: '7MB' } })
  expect(await settings(kept.url)).toEqual([{ s: 'fsync=on full_page_writes=on synchronous_commit=on' }])
  expect(await settings(thrownAway.url)).toEqual([{ s: 'fsync=off full_page_writes=off synchronous_commit=on' }])
  expect(await ask(thrownAway.url, 'show work_mem')).toEqual([{ work_mem: '7MB' }])
})

test('it listens on the loopback address only, wants the password, and what is thrown away is gone after stop', async () => {
  const { url, dataDir, stop } = await start({ persistent: false })
  expect(await ask(url, 'show listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }])
  expect(await ask(url, 'show unix_socket_directories')).toEqual([{ unix_socket_directories: '' }])
  const guess = Object.assign(new URL(url), { password: 'postgres' }).href
  await expect(ask(guess, 'select 1')).rejects.toMatchObject({ code: '28P01' })
  expect((await stat(join(dataDir, 'millrace.json'))).mode & 0o777).toBe(0o600)
  await stop()
  await expect(stat(dataDir)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('two that start at the same instant get ports of their own', async () => {
  const servers = await Promise.all([start({ persistent: false }), start({ persistent: false })])
  expect(new Set(servers.map(({ port }) => port)).size).toBe(2)
  for (const { url } of servers) expect(await ask(url, 'select 1 as one')).toEqual([{ one: 1 }])
})

test('a port that was asked for is taken or refused, never replaced', async () => {
  const first = await start({ persistent: false })
  await expect(startPostgres({ persistent: false, port: first.port })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('Address already in use'),
  })
})

test('a second server on a live data directory is refused with the first one named', async () => {
  const dataDir = await dataFolder()
  const { pid, port } = await start({ dataDir })
  await expect(startPostgres({ dataDir })).rejects.toMatchObject({
    code: 'data_directory_in_use',
    message: expect.stringContaining(`process ${pid}, port ${port}`),
  })
})

test('a killed server leaves a lock file, and starts again with its committed data', async () => {
  const dataDir = await dataFolder()
  const killed = await startPostgres({ dataDir })
  await ask(killed.url, 'create table kept as select 42 as answer')
  process.kill(killed.pid, 'SIGKILL')
  await killed.exited
  expect(await readFile(join(dataDir, 'postmaster.pid'), 'utf8')).toContain(String(killed.pid))
  const { url } = await start({ dataDir })
  expect(await ask(url, 'table kept')).toEqual([{ answer: 42 }])
})

test('a lock file whose process id now belongs to another program does not stop it', async () => {
  const dataDir = await dataFolder()
  const killed = await startPostgres({ dataDir })
  process.kill(killed.pid, 'SIGKILL')
  await killed.exited
  const stranger = spawn('sleep', ['60'])
  onTestFinished(() => void stranger.kill())
  const lock = join(dataDir, 'postmaster.pid')
  const lines = (await readFile(lock, 'utf8')).split('\n')
  await writeFile(lock, [stranger.pid, ...lines.slice(1)].join('\n'))
  const { url } = await start({ dataDir })
  expect(await ask(url, 'select 1 as one')).toEqual([{ one: 1 }])
})

test('a folder with something else in it is refused and left alone', async () => {
  const dataDir = await dataFolder()
  await mkdir(dataDir)
  await writeFile(join(dataDir, 'thesis.txt'), 'mine')
  await expect(startPostgres({ dataDir })).rejects.toMatchObject({ code: 'invalid_configuration' })
  expect(await readFile(join(dataDir, 'thesis.txt'), 'utf8')).toBe('mine')
})

test('Ctrl-C on `millrace pg` ends it in good order and leaves no process', async () => {
  const dataDir = await dataFolder()
  const { child, firstLine, closed } = await startCli(['pg', '--data', dataDir, '--migrate'])
  const url = firstLine.replace('DATABASE_URL=', '')
  expect(await ask(url, `select millrace.enqueue('render_receipt', '{}') as id`)).toEqual([{ id: '1' }])
  const pid = Number((await readFile(join(dataDir, 'postmaster.pid'), 'utf8')).split('\n')[0])
  child.kill('SIGINT')
  expect(await closed).toBe(0)
  expect(isAlive(pid)).toBe(false)
})

test('the server does not outlive a starter that was killed, and its throw-away data goes with it', async () => {
  const { child, firstLine, closed } = await startCli(['pg', '--ephemeral', '--json'])
  const { pid, dataDir } = JSON.parse(firstLine)
  child.kill('SIGKILL')
  await closed
  await gone(pid)
  await expect.poll(() => stat(dataDir).catch(error => error.code), { timeout: 15_000 }).toBe('ENOENT')
})
