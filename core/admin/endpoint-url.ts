// Where webhooks may be sent, as far as a URL tells when somebody asks for it; dispatchers look at each address again.

import { MillraceError } from '../errors.ts'
import type { TargetGuard } from '../target-guard.ts'

const ALLOWING = 'Whoever runs this and the dispatchers may allow more: MILLRACE_ALLOW_TARGETS'

/** Without a guard any host is taken. @throws {MillraceError} `invalid_endpoint` */
export function checkEndpointUrl(text: string, guard?: TargetGuard): void {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) throw invalid('is an absolute http(s) URL')
  if (url.username || url.password) throw invalid('carries no credentials')
  const refusal = guard?.refusalOfUrl(url.protocol, url.hostname)
  if (refusal) throw invalid(`is refused: ${refusal.message}`, ALLOWING)
}

const invalid = (problem: string, hint?: string): MillraceError =>
  new MillraceError('invalid_endpoint', `url ${problem}`, { hint })
