// `--sealing-keys` for any command that keeps webhook secrets.

import { type Keyring, parseKeyring } from '../../core/protocol/keyring.ts'
import { deriveSealingKeyring } from '../../core/protocol/sealing.ts'
import type { Options, ValuesOf } from './cli-command.ts'

export const sealingKeysOption = {
  'sealing-keys': {
    type: 'string',
    value: 'KEYS',
    help: 'what seals webhook secrets: see millrace keys sealing (default: $MILLRACE_SEALING_KEYS, else of $MILLRACE_KEYS)',
  },
} as const satisfies Options

/** Undefined: secrets are kept as they are. @throws {MillraceError} `invalid_keyring` */
export function sealingKeys(values: ValuesOf<typeof sealingKeysOption>): Keyring | undefined {
  const text = values['sealing-keys'] ?? process.env.MILLRACE_SEALING_KEYS
  if (text) return parseKeyring(text)
  const root = process.env.MILLRACE_KEYS
  return root ? deriveSealingKeyring(parseKeyring(root)) : undefined
}
