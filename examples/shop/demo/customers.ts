// Who buys: places orders one after another, and every fourth time thinks better of it.

import { catalogue, type Sku } from '../catalogue.ts'

const NAMES = ['Ada', 'Grace', 'Edsger', 'Barbara', 'Tony', 'Radia', 'Leslie']
const SKUS = Object.keys(catalogue) as Sku[]

/** One at a time, so that which order fails and which rolls back is the same in every run. */
export async function placeOrders(apiUrl: string, count: number): Promise<void> {
  for (let n = 1; n <= count; n++) await placeOrder(apiUrl, n)
}

async function placeOrder(apiUrl: string, n: number): Promise<void> {
  const changesMind = n % 4 === 0
  const response = await fetch(`${apiUrl}/orders${changesMind ? '?fail=1' : ''}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ customer: NAMES[n % NAMES.length], lines: linesOf(n) }),
  })
  const answer = await response.text()
  if (response.status !== (changesMind ? 409 : 201)) {
    throw new Error(`The order API answered order ${n} with ${response.status}: ${answer}`)
  }
}

const linesOf = (n: number) =>
  SKUS.slice(0, 1 + (n % SKUS.length)).map((sku, i) => ({ sku, quantity: 1 + ((n + i) % 3) }))
