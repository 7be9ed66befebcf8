// The demo as a newcomer runs it: every process real, the books balanced, and nothing left behind.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { balance } from '../examples/shop/demo/books.ts'
import type { JobEntry, Ledger } from '../examples/shop/demo/ledger.ts'

const demo = fileURLToPath(new URL('../examples/shop/demo.ts', import.meta.url))
const PATIENCE_MS = 150_000

/** Receipts go below the working directory. */
let cwd = ''
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'millrace-demo-test-'))
})
afterAll(() => rm(cwd, { recursive: true, force: true }))

/** Runs the demo to its end; `onLine` may end it. */
async function runDemo(args: string[], onLine: (line: string, interrupt: () => void) => void = () => undefined) {
  const child = spawn(process.execPath, ['-C', 'millrace-source', demo, ...args], { cwd })
  const lines: string[] = []
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on('line', line => {
      lines.push(line)
      onLine(line, () => child.kill('SIGINT'))
    })
  }
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, lines, output: lines.join('\n') }
}

describe('the demo', () => {
  it(
    'runs orders through every process and balances the books',
    async () => {
      const { status, lines, output } = await runDemo(['--orders', '4', '--exit'])

      expect(lines.at(-1), output).toMatch(
        /^demo: orders=4 rolled_back=1 enqueued=6 completed=6 failed=0 retried=[1-9]\d* webhooks=3 lost=0$/,
      )
      expect(status).toBe(0)
      const folder = output.match(/receipts go to (.+)$/m)?.[1] as string
      const receipts = await readdir(folder)
      expect(receipts.sort()).toEqual(['receipt-1.pdf', 'receipt-2.pdf', 'receipt-3.pdf'])
      expect((await readFile(join(folder, 'receipt-1.pdf'))).toString('latin1')).toMatch(/^%PDF-/)
    },
    PATIENCE_MS,
  )

  it(
    'stays up until Ctrl-C, which takes every process down',
    async () => {
      const { status, output } = await runDemo(['--orders', '0'], (line, interrupt) => {
        if (line.startsWith('Ctrl-C')) interrupt()
      })

      expect(status, output).toBe(0)
      for (const url of output.matchAll(/http:\/\/127\.0\.0\.1:\d+/g)) await expect(fetch(url[0])).rejects.toThrow()
      const pids = [...output.matchAll(/process (\d+)/g)].map(match => Number(match[1]))
      expect(pids).toHaveLength(5)
      for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    },
    PATIENCE_MS,
  )
})

describe('the books', () => {
  const job = (id: string, kind: string, orderId: number): JobEntry => ({
    id,
    kind,
    orderId,
    state: 'completed',
    attempt: 1,
    errors: [],
    completions: 1,
    retries: 0,
  })
  const jobs = [job('1', 'render_receipt', 1), job('2', 'reserve_stock', 1), job('3', 'millrace.webhook', 1)]
  const order = { id: 1, status: 'fulfilled', reserved: true, webhooks: 1 }
  const good: Ledger = { placed: 2, orders: [order], jobs, receipts: new Set([1]) }

  it('balance when every committed order had its effects once, and no other order any', () => {
    const { totals, problems } = balance(good, 2)

    expect(problems).toEqual([])
    expect(totals).toEqual({
      orders: 2,
      rolled_back: 1,
      enqueued: 2,
      completed: 2,
      failed: 0,
      retried: 0,
      webhooks: 1,
      lost: 0,
    })
  })

  it.each<[string, Partial<Ledger>, number]>([
    ['2 orders were to be placed, 1 were', { placed: 1 }, 0],
    ['order 1 has 0 reserve_stock jobs', { jobs: jobs.filter(({ id }) => id !== '2') }, 1],
    ['order 1 has 2 reserve_stock jobs', { jobs: [...jobs, job('4', 'reserve_stock', 1)] }, 1],
    ['job 1 (render_receipt of order 1, attempt 1) is completed without effect', { receipts: new Set() }, 1],
    [
      'job 2 (reserve_stock of order 1, attempt 1) is completed without',
      { orders: [{ ...order, reserved: false }] },
      1,
    ],
    ['job 3 (millrace.webhook of order 1, attempt 1) is completed without', { orders: [{ ...order, webhooks: 0 }] }, 1],
    ['of order 1, attempt 1) is running', { jobs: jobs.map(one => ({ ...one, state: 'running' })) }, 3],
    ['was completed 2 times', { jobs: jobs.map(one => ({ ...one, completions: 2 })) }, 0],
    ['of order 2, attempt 1) is of an order that vanished', { jobs: [...jobs, job('4', 'reserve_stock', 2)] }, 0],
    ['there is a receipt of order 2, which vanished', { receipts: new Set([1, 2]) }, 0],
  ])('do not: %s', (problem, change, lost) => {
    const { totals, problems } = balance({ ...good, ...change }, 2)

    expect(problems).toContainEqual(expect.stringContaining(problem))
    expect(totals.lost).toBe(lost)
  })
})
