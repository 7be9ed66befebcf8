// Leadership: one holder at a time, an epoch that grows with every change of hands, and refusal of whoever was deposed.

import { toSql } from 'millrace'
import type postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { useEngine } from '../support/engine-database.ts'

const database = useEngine()

const engineOf = (sql: postgres.Sql) => new MaintenanceEngine(toSql(sql))
const engine = () => engineOf(database.sql)
const passTime = () => database.sql`update millrace.leader set until = clock_timestamp() - interval '1 second'`
const lease = async () => {
  const [row] = await database.sql`
    select holder, epoch::int, extract(epoch from until - clock_timestamp())::float8 as seconds from millrace.leader`
  return row as { holder: string; epoch: number; seconds: number }
}

describe('the lease', () => {
  it('goes to the first who asks; nobody else gets it while it lasts', async () => {
    expect(await engine().lead('a', 60)).toBe('1')
    expect(await engine().lead('b', 60)).toBeUndefined()
    expect(await lease()).toMatchObject({ holder: 'a', epoch: 1 })
  })

  it('is renewed and shortened by its holder, under the same epoch', async () => {
    await engine().lead('a', 10)
    expect(await engine().lead('a', 120)).toBe('1')
    expect((await lease()).seconds).toBeGreaterThan(100)
    expect(await engine().lead('a', 10)).toBe('1')
    expect((await lease()).seconds).toBeLessThan(11)
  })

  it('is not written anew for nearly the same end', async () => {
    await engine().lead('a', 60)
    const [before] = await database.sql`select ctid::text from millrace.leader`
    expect(await engine().lead('a', 61)).toBe('1')
    expect(await database.sql`select ctid::text from millrace.leader`).toEqual([before])
  })

  it.each(['a', 'b'])('that is over goes to whoever asks (%s), under the next epoch', async holder => {
    await engine().lead('a', 60)
    await passTime()
    expect(await engine().lead(holder, 60)).toBe('2')
  })

  it('is free at once when its holder resigns; others cannot resign in its place', async () => {
    await engine().lead('a', 60)
    expect(await engine().resign('b')).toBe(false)
    expect(await engine().lead('b', 60)).toBeUndefined()
    expect(await engine().resign('a')).toBe(true)
    expect(await engine().resign('a')).toBe(false)
    expect(await engine().lead('b', 60)).toBe('2')
  })

  it('exists once for each name', async () => {
    expect(await engine().lead('a', 60, 'one')).toBe('1')
    expect(await engine().lead('b', 60, 'other')).toBe('1')
  })
})

describe('require_leader', () => {
  it('lets the present epoch pass', async () => {
    const epoch = (await engine().lead('a', 60)) as string
    await engine().requireLeader(epoch)
  })

  it.each(['resigned', 'over', 'another leads', 'nobody ever led'])('refuses: %s', async how => {
    const epoch = how === 'nobody ever led' ? '1' : ((await engine().lead('a', 60)) as string)
    if (how === 'resigned') await engine().resign('a')
    if (how === 'over' || how === 'another leads') await passTime()
    if (how === 'another leads') await engine().lead('b', 60)
    await expect(engine().requireLeader(epoch)).rejects.toMatchObject({ code: 'not_leader' })
  })

  it('keeps the lease from changing hands until its transaction ends, and does not hinder its renewal', async () => {
    const epoch = (await engine().lead('a', 60)) as string
    const leader = await database.connect()
    await leader`begin`
    await engineOf(leader).requireLeader(epoch)
    expect(await engine().lead('a', 120)).toBe(epoch)
    await passTime()
    expect(await engine().lead('b', 60)).toBeUndefined()
    await leader`commit`
    expect(await engine().lead('b', 60)).toBe('2')
  })

  it('waits for a change of hands that is under way, and is refused by it', async () => {
    const epoch = (await engine().lead('a', 60)) as string
    await passTime()
    const taker = await database.connect()
    await taker`begin`
    expect(await engineOf(taker).lead('b', 60)).toBe('2')
    const refused = expect(engine().requireLeader(epoch)).rejects.toMatchObject({ code: 'not_leader' })
    await taker`commit`
    await refused
  })
})
