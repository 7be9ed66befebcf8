// `--allow-targets` for any command that sends, or takes URLs that will be sent to.

import { MillraceError } from '../../core/errors.ts'
import { type AllowedTargets, targetGuard } from '../../core/target-guard.ts'
import { type Options, UsageError, type ValuesOf } from './cli-command.ts'

export const allowTargetsOption = {
  'allow-targets': {
    type: 'string',
    value: 'LIST',
    help: 'where jobs may go besides https to public addresses: loopback, private, http, ranges (default: $MILLRACE_ALLOW_TARGETS)',
  },
} as const satisfies Options

/** @throws {UsageError} when what is allowed is neither a word nor an address */
export function allowedTargets(values: ValuesOf<typeof allowTargetsOption>): AllowedTargets {
  const listed = values['allow-targets'] ?? process.env.MILLRACE_ALLOW_TARGETS ?? ''
  const allowed = listed.split(/[\s,]+/).filter(entry => entry !== '')
  try {
    targetGuard(allowed)
    return allowed
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error
    throw new UsageError(`--allow-targets: ${error.message}`, error.hint)
  }
}
