// `millrace keys`: makes keyrings and API keys, and derives from keyrings what others get of them.

import { generateApiKey } from '../../core/api-key.ts'
import { freshKid } from '../../core/protocol/key-rotation.ts'
import {
  deriveDispatchKeyring,
  deriveSealingKeyring,
  formatKeyring,
  generateKeyring,
  type Keyring,
  parseKeyring,
} from '../../core/protocol.ts'
import { defineCommand, type Group } from './cli-command.ts'
import { listKeysCommand } from './cli-keys-list.ts'
import { keysOption, keysText } from './cli-keys-option.ts'
import { rotateCommand } from './cli-keys-rotate.ts'

/** A keyring as `keys` commands print it. */
const printed = (keyring: Keyring): [string, object] => [
  formatKeyring(keyring),
  { keyring: formatKeyring(keyring), kids: keyring.keys.map(({ kid }) => kid) },
]

const generateCommand = defineCommand({
  name: 'keys generate',
  summary: 'Prints a new root keyring of one key: the secret MILLRACE_KEYS of maintenance and the callback ingress.',
  details: 'Also a data keyring, MILLRACE_DATA_KEYS, for encrypted payloads: never the same one for both.',
  options: { kid: { type: 'string', value: 'ID', help: 'the id of the new key (default: the date, as k20260131)' } },
  run: async ({ values, result }) => result(...printed(generateKeyring(values.kid ?? freshKid([], new Date())))),
})

const dispatchCommand = defineCommand({
  name: 'keys dispatch',
  summary: 'Prints the keyring with which functions verify what they are sent; the root cannot be computed from it.',
  options: keysOption,
  run: async ({ values, result }) => result(...printed(deriveDispatchKeyring(parseKeyring(keysText(values))))),
})

const sealingCommand = defineCommand({
  name: 'keys sealing',
  summary: 'Prints the keyring with which deploys and the API seal webhook secrets: MILLRACE_SEALING_KEYS.',
  options: keysOption,
  run: async ({ values, result }) => result(...printed(deriveSealingKeyring(parseKeyring(keysText(values))))),
})

const apiCommand = defineCommand({
  name: 'keys api',
  summary: 'Prints a new key for MILLRACE_API_KEYS, random and derived from nothing.',
  options: {},
  async run({ result }) {
    const key = generateApiKey()
    result(key, { key })
  },
})

export const keysGroup: Group = {
  name: 'keys',
  summary: 'Makes, rotates and lists keys.',
  commands: [generateCommand, rotateCommand, listKeysCommand, dispatchCommand, sealingCommand, apiCommand],
}
