// What there is to play with while the demo stays up.

import type { Stage } from './stage.ts'

export const invitation = ({ ordersUrl, callbacksUrl, databaseUrl, receipts }: Stage): string[] => [
  '',
  'The shop is open. Place an order of your own, or have one rolled back with ?fail=1:',
  `  curl ${ordersUrl}/orders -H 'content-type: application/json' -d '{"customer":"You","lines":[{"sku":"tea","quantity":2}]}'`,
  `  curl ${ordersUrl}/orders/1`,
  'Enqueue from any SQL client, inside begin … rollback if you like:',
  `  psql '${databaseUrl}' -c "select millrace.enqueue('render_receipt', '{\\"orderId\\": 1}')"`,
  'Look at a job:',
  `  psql '${databaseUrl}' -c 'select jsonb_pretty(millrace.job(1))'`,
  `Callback ingress: ${callbacksUrl}/healthz`,
  `Receipts:         ${receipts}`,
  '',
  'Ctrl-C takes everything down; only the receipts stay.',
]
