// What Workers have in common: handlers, and work that goes on once the answer is out.

import type { WorkerDatabase } from './database.ts'

/** What is used of a Worker's `ctx`. */
export interface WorkerContext {
  waitUntil(work: Promise<unknown>): void
}

/** A Worker's default export. */
export interface FetchWorker<Env> {
  fetch(request: Request, env: Env, ctx: WorkerContext): Promise<Response>
}

/** Gives a request a database of its own, closed behind the answer. */
export async function withDatabase(
  database: WorkerDatabase,
  ctx: WorkerContext,
  answer: () => Promise<Response>,
): Promise<Response> {
  try {
    return await answer()
  } finally {
    ctx.waitUntil(database.end().catch(() => undefined))
  }
}
