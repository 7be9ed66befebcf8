// A user's endpoint for completion webhooks, which checks them with the stock Standard Webhooks library.

import { Webhook } from 'standardwebhooks'
import { type Answer, startFunctionServer } from './function-server.ts'
import { Recorder } from './maintenance-recorder.ts'

export interface Delivery {
  readonly id: string
  readonly timestamp: number
  readonly body: string
  readonly event: { readonly type: string; readonly timestamp: string; readonly data: Record<string, unknown> }
}

/** Answers as `answer` says, 204 unless it says something. Deliveries that do not verify are answered 401 and not noted. */
export async function startWebhookEndpoint(
  secret: string,
  answer: (nth: number) => Answer | undefined = () => undefined,
) {
  const deliveries = new Recorder<Delivery>()
  const webhook = new Webhook(secret)
  const server = await startFunctionServer(({ text, headers }) => {
    try {
      const event = webhook.verify(text, headers as Record<string, string>) as Delivery['event']
      deliveries.push({
        id: String(headers['webhook-id']),
        timestamp: Number(headers['webhook-timestamp']),
        body: text,
        event,
      })
    } catch {
      return { status: 401 }
    }
    return answer(deliveries.all.length) ?? { status: 204 }
  })
  return { url: `${server.url}/hooks`, deliveries, server }
}
