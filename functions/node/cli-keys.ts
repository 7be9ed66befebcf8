// `millrace keys`: makes keyrings and API keys, and derives from keyrings what functions get.

import { generateApiKey } from '../../core/api/keys.ts'
import { deriveDispatchKeyring, formatKeyring, generateKeyring, parseKeyring } from '../../core/protocol.ts'
import { defineCommand, type Options, UsageError, type ValuesOf } from './cli-command.ts'

/** `--keys` for any command that signs or verifies. */
export const keysOption = {
  keys: { type: 'string', value: 'KEYRING', help: 'the root keyring, kid:hex[,kid:hex...] (default: $MILLRACE_KEYS)' },
} as const satisfies Options

/** The root keyring's text. */
export function keysText(values: ValuesOf<typeof keysOption>): string {
  const text = values.keys ?? process.env.MILLRACE_KEYS
  if (!text)
    throw new UsageError('no keys given', 'Set MILLRACE_KEYS or pass --keys; `millrace keys generate` makes one.')
  return text
}

export const keysCommand = defineCommand({
  name: 'keys',
  operands: '<generate|dispatch|api>',
  summary: 'Makes a keyring (generate) or an API key (api), or derives the keyring that functions get (dispatch).',
  details: `generate prints a new root keyring of one key: the secret MILLRACE_KEYS of maintenance and the callback ingress.
dispatch prints the keyring with which functions verify what they are sent; the root cannot be computed from it.
api prints a new key for MILLRACE_API_KEYS, random and derived from nothing.
To rotate a root key, put a new key in front (new,old), and take the old one out once its attempts are over.`,
  options: {
    ...keysOption,
    kid: { type: 'string', value: 'ID', help: 'generate: the id of the new key (default: the date, as k20260131)' },
  },
  async run({ values, positionals, result }) {
    const [what, ...rest] = positionals
    if (rest.length > 0 || !['generate', 'dispatch', 'api'].includes(what ?? '')) {
      throw new UsageError('keys takes one of generate, dispatch and api', 'millrace keys --help')
    }
    if (what === 'api') {
      const key = generateApiKey()
      return result(key, { key })
    }
    const keyring =
      what === 'generate'
        ? generateKeyring(values.kid ?? todaysKid())
        : deriveDispatchKeyring(parseKeyring(keysText(values)))
    result(formatKeyring(keyring), { keyring: formatKeyring(keyring), kids: keyring.keys.map(({ kid }) => kid) })
  },
})

const todaysKid = (): string => `k${new Date().toISOString().slice(0, 10).replaceAll('-', '')}`
