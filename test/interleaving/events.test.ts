// Races of events and waits with each other and with whatever ends attempts: an event is never lost, and never applied twice.

import { expect, it } from 'vitest'
import { games } from './matrix.ts'
import { playAll, useArena } from './race.ts'
import { SEND, type Verb, verb, waiting } from './verbs.ts'

/** As it is begun in: r1, h1 and p0 wait, p0 for too long already, and an event for u0 is kept. */
const arena = useArena(2, async (sql, { open }) => {
  for (const { segment, id, attempt } of [open.r1, open.h1, open.p0])
    await sql.unsafe(`select millrace.wait(${segment}, ${id}, ${attempt}, 'payment', 3600, 'resume')`)
  await sql.unsafe(`update millrace.attempt_state set deadline = now() - interval '1 minute' where id = ${open.p0.id}`)
  await sql.unsafe(`select millrace.send_event(${open.u0.id}, 'payment', '"early"')`)
  await sql.unsafe(`insert into probe.sent values (${open.u0.id}, 'early')`)
})

const [plain, early] = [waiting('l0'), waiting('u0')]
const closing = ['close', 'callback', 'cancel', 'rescue', 'prune'].map(verb)
const pairs: (readonly [Verb, Verb])[] = [
  [SEND, SEND],
  ...[plain, early].flatMap(wait => [[SEND, wait] as const, [wait, wait] as const]),
  ...closing.flatMap(other => [SEND, plain, early].map(mine => [mine, other] as const)),
  ...['heartbeat', 'park'].map(verb).flatMap(other => [SEND, plain].map(mine => [mine, other] as const)),
]

it.each(pairs.map(([a, b]) => [a.name, b.name, a, b] as const))(
  '%s, %s',
  { timeout: 120_000 },
  async (_a, _b, a, b) => {
    const problems = await playAll(arena, games(a, b))
    expect(problems.length, `${problems.length} wrong:\n${problems.slice(0, 3).join('\n')}`).toBe(0)
  },
)
