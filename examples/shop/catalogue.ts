// What the shop sells. Prices come from here, never from the customer.

export const catalogue = {
  mug: { name: 'Enamel mug', priceCents: 1250 },
  tea: { name: 'Darjeeling, 100 g', priceCents: 890 },
  kettle: { name: 'Kettle, 1.2 l', priceCents: 4900 },
} as const

export type Sku = keyof typeof catalogue

/** One line of an order, with the price it was bought at. */
export interface OrderLine {
  readonly sku: Sku
  readonly quantity: number
  readonly priceCents: number
}

export const euros = (cents: number): string => `EUR ${(cents / 100).toFixed(2)}`
