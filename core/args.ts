// A job's arguments against the schema of its kind: the same check on enqueue and again in the function.

import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from './errors.ts'
import { pathText } from './json-text.ts'
import type { Kind, ParsedArgsOf } from './kind.ts'

/**
 * Validates `args` and answers what the schema makes of them. Schemas may be synchronous or asynchronous.
 *
 * @throws {MillraceError} `invalid_args`; the message lists every issue with its path, `cause` holds the issues
 */
export async function parseArgs<K extends Kind>(kind: K, args: unknown): Promise<ParsedArgsOf<K>> {
  return acceptedArgs(kind, await kind.args['~standard'].validate(args))
}

/** What a schema's verdict says: the value, or the error of {@link parseArgs}. */
export function acceptedArgs<K extends Kind>(kind: K, result: StandardSchemaV1.Result<unknown>): ParsedArgsOf<K> {
  if (result.issues) {
    const issues = result.issues.map(issueText).join('; ')
    throw new MillraceError('invalid_args', `Arguments of "${kind.name}": ${issues}`, { cause: result.issues })
  }
  return result.value as ParsedArgsOf<K>
}

function issueText({ path = [], message }: StandardSchemaV1.Issue): string {
  const keys = path.map(step => (typeof step === 'object' ? step.key : step))
  return `${pathText(keys)}: ${message}`
}
