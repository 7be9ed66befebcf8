// `--keys` for any command that signs or verifies.

import { type Options, UsageError, type ValuesOf } from './cli-command.ts'

export const keysOption = {
  keys: { type: 'string', value: 'KEYRING', help: 'the root keyring, kid:hex[,kid:hex...] (default: $MILLRACE_KEYS)' },
} as const satisfies Options

export const hasKeys = (values: ValuesOf<typeof keysOption>): boolean =>
  Boolean(values.keys ?? process.env.MILLRACE_KEYS)

/** The root keyring's text. */
export function keysText(values: ValuesOf<typeof keysOption>): string {
  const text = values.keys ?? process.env.MILLRACE_KEYS
  if (!text)
    throw new UsageError('no keys given', 'Set MILLRACE_KEYS or pass --keys; `millrace keys generate` makes one.')
  return text
}
