// What a Worker takes of Millrace that only enqueues: measured by .ci/bundle-size.ts.

import { type Database, defineKind, enqueue } from 'millrace'

declare const args: Parameters<typeof defineKind>[0]['args']

export default {
  fetch: async (request: Request, { tx }: { tx: Database }): Promise<Response> =>
    new Response(await enqueue(tx, defineKind({ name: 'receipt', args }), await request.json())),
}
