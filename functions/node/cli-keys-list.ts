// `millrace keys list`: which keys a keyring has, and what each does; never a secret.

import { fingerprint } from '../../core/protocol/key-rotation.ts'
import { dispatchKey } from '../../core/protocol/keyring.ts'
import { parseKeyring } from '../../core/protocol.ts'
import { defineCommand } from './cli-command.ts'
import { keysOption, keysText } from './cli-keys-option.ts'
import { table } from './cli-table.ts'

export const listKeysCommand = defineCommand({
  name: 'keys list',
  summary: 'Lists the keys of a keyring and what each does, without their secrets.',
  details: `Any keyring will do, a root or one that was derived from it. DISPATCH is what this command shows under FINGERPRINT for
the dispatch keyring of the same root: where the two are alike, functions have the keys that maintenance signs with.`,
  options: keysOption,
  async run({ values, result }) {
    const items = parseKeyring(keysText(values)).keys.map((key, index) => ({
      kid: key.kid,
      use: index === 0 ? 'signs and verifies' : 'verifies',
      fingerprint: fingerprint(key),
      dispatch_fingerprint: fingerprint(dispatchKey(key)),
    }))
    const lines = table(items, [
      { title: 'KID', of: ({ kid }) => kid },
      { title: 'USE', of: ({ use }) => use },
      { title: 'FINGERPRINT', of: item => item.fingerprint },
      { title: 'DISPATCH', of: item => item.dispatch_fingerprint },
    ])
    result(lines.join('\n'), { items, cursor: null })
  },
})
