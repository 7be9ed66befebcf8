// Database sessions of the run itself, over a driver that survives losing them at any moment.

import pg from 'pg'

export type Session = pg.Client

/** Connects, or rejects soon; a connection that breaks while nobody asks anything of it is no surprise here. */
async function openSession(url: string): Promise<Session> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3_000, application_name: 'chaos' })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

export async function withSession<T>(url: string, work: (session: Session) => Promise<T>): Promise<T> {
  const session = await openSession(url)
  try {
    return await work(session)
  } finally {
    await session.end().catch(() => undefined)
  }
}
