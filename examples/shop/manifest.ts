// What is synced into the database at deploy: where each kind's function is, and who hears of finished jobs.

import { defineManifest, type Manifest } from 'millrace'
import { renderReceipt, reserveStock } from './kinds.ts'

export interface Deployment {
  /** The function service. */
  readonly functionsUrl: string
  /** The shop's endpoint for completion webhooks. */
  readonly webhookUrl: string
  /** `whsec_…`, known to the shop's endpoint too. */
  readonly webhookSecret: string
}

export function shopManifest({ functionsUrl, webhookUrl, webhookSecret }: Deployment): Manifest {
  const url = `${functionsUrl}/jobs`
  return defineManifest({
    kinds: [
      { ...renderReceipt, target: { url, mode: 'callback', callbackTimeoutSeconds: 60 } },
      { ...reserveStock, target: { url, mode: 'sync', requestTimeoutSeconds: 10 } },
    ],
    subscriptions: [
      { name: 'shop', kinds: [renderReceipt], events: ['completed'], url: webhookUrl, secret: webhookSecret },
    ],
  })
}
