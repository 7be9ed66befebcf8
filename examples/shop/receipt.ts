// Draws a receipt as a PDF.

import { PDFDocument, type PDFPage, StandardFonts } from 'pdf-lib'
import { catalogue, euros, type OrderLine } from './catalogue.ts'

export interface Order {
  readonly id: number
  readonly customer: string
  readonly lines: readonly OrderLine[]
  readonly totalCents: number
}

const PAGE = { width: 420, height: 595, margin: 48 }

export async function receiptPdf(order: Order): Promise<Uint8Array> {
  const pdf = await PDFDocument.create()
  pdf.setTitle(`Receipt ${order.id}`)
  const page = pdf.addPage([PAGE.width, PAGE.height])
  const regular = await pdf.embedFont(StandardFonts.Helvetica)
  const bold = await pdf.embedFont(StandardFonts.HelveticaBold)

  let y = PAGE.height - PAGE.margin
  const row = (left: string, right: string, font = regular, size = 11) => {
    page.drawText(left, { x: PAGE.margin, y, size, font })
    const x = PAGE.width - PAGE.margin - font.widthOfTextAtSize(right, size)
    page.drawText(right, { x, y, size, font })
    y -= size * 1.8
  }

  row('The Millrace Shop', `Receipt ${order.id}`, bold, 15)
  row(`For ${printable(order.customer)}`, '')
  y = rule(page, y)
  for (const { sku, quantity, priceCents } of order.lines) {
    row(`${quantity} x ${catalogue[sku].name}`, euros(quantity * priceCents))
  }
  y = rule(page, y)
  row('Total', euros(order.totalCents), bold, 13)
  return pdf.save()
}

function rule(page: PDFPage, y: number): number {
  page.drawLine({ start: { x: PAGE.margin, y }, end: { x: PAGE.width - PAGE.margin, y }, thickness: 0.5 })
  return y - 22
}

/** The fonts that every PDF reader has know Latin letters only. */
const printable = (text: string): string => text.replaceAll(/[^\x20-\x7e\xa0-\xff]/g, '?')
