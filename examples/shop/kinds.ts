// The shop's kinds of jobs, declared once: the order API enqueues them, the function service handles them.

import { defineKind } from 'millrace'
import * as v from 'valibot'

const args = v.object({ orderId: v.pipe(v.number(), v.integer()) })

/** Long work, closed by a signed callback. */
export const renderReceipt = defineKind({
  name: 'render_receipt',
  args,
  maxAttempts: 5,
  retry: { strategy: 'exponential', baseSeconds: 0.25 },
})

/** Short work, closed by the function's answer. */
export const reserveStock = defineKind({
  name: 'reserve_stock',
  args,
  priority: 1,
  maxAttempts: 5,
  retry: { strategy: 'exponential', baseSeconds: 0.25 },
})
