// `millrace keys rotate`: the keyrings of the two deploys that replace a key.

import { activateKey, addKey, freshKid } from '../../core/protocol/key-rotation.ts'
import { deriveDispatchKeyring, formatKeyring, parseKeyring } from '../../core/protocol.ts'
import { defineCommand, UsageError } from './cli-command.ts'
import { keysOption, keysText } from './cli-keys-option.ts'

export const rotateCommand = defineCommand({
  name: 'keys rotate',
  summary: 'Prints the keyring with a new key at its end or, with --activate, the one in which that key signs.',
  details: `1. Deploy what keys rotate prints: the new key verifies everywhere, the old one still signs.
2. Once all roles and functions have it, deploy what keys rotate --activate prints: the new key signs, the one before it
   verifies what it began, older ones are gone.
Within a deploy any order will do. Functions get what keys dispatch makes of each (dispatch_keyring under --json).
When the attempts begun before the second deploy are over, the old key may be taken out, and must be if it has leaked;
the next rotation's second step drops it. With --keep no key is dropped: for data
keyrings always, for a root key until the webhook secrets sealed with it are sealed anew.`,
  options: {
    ...keysOption,
    activate: { type: 'boolean', help: 'the second step: the newest key (the last one) signs' },
    keep: { type: 'boolean', help: 'with --activate: no key is dropped, since what is stored needs them' },
    kid: { type: 'string', value: 'ID', help: 'the id of the new key (default: the date, as k20260131)' },
  },
  async run({ values, result, progress }) {
    if (values.activate && values.kid !== undefined)
      throw new UsageError('--kid names a new key, --activate makes none')
    const before = parseKeyring(keysText(values))
    const after = values.activate
      ? activateKey(before, { keep: values.keep })
      : addKey(before, values.kid ?? freshKid(before.keys, new Date()))
    const kids = after.keys.map(({ kid }) => kid)
    const dispatchKeyring = formatKeyring(deriveDispatchKeyring(after))
    progress(
      `${kids[0]} signs, ${kids.join(' and ')} verify. Deploy this to all roles, and what keys dispatch makes of it.`,
    )
    result(formatKeyring(after), { keyring: formatKeyring(after), kids, dispatch_keyring: dispatchKeyring })
  },
})
