// What a declaration of a kind or a subscription must satisfy, checked where it is written, before any deploy.

import { MillraceError } from './errors.ts'
import type { HttpTarget, KindOptions, LambdaTarget, RetryPolicy, Target } from './kind-options.ts'
import { lambdaNameOf } from './lambda-target.ts'
import { bindingOf } from './target-url.ts'

/** @throws {MillraceError} `invalid_declaration` */
export function checkKind(kind: KindOptions & { readonly name: string }): void {
  checkName('kind', kind.name)
  const where = `Kind "${kind.name}"`
  if (kind.queue !== undefined && !isLength(kind.queue)) refuse(where, 'queue has 1 to 200 characters')
  checkInteger(where, 'priority', kind.priority, 1, 4)
  checkInteger(where, 'maxAttempts', kind.maxAttempts, 1, 1000)
  checkSeconds(where, 'timeLimitSeconds', kind.timeLimitSeconds)
  if (kind.retry) checkRetry(`${where}: retry`, kind.retry)
  if (kind.target) checkTarget(`${where}: target`, kind.target)
}

/** @throws {MillraceError} `invalid_declaration` */
export function checkName(what: 'kind' | 'subscription' | 'schedule' | 'queue', name: string): void {
  if (!isLength(name)) refuse(`A ${what}'s name`, `has 1 to 200 characters, not ${name.length}`)
  if (name.startsWith('millrace.')) refuse(`The ${what} "${name}"`, 'names that start with "millrace." are built in')
}

/** @throws {MillraceError} `invalid_declaration` unless `url` is absolute, http or https, and without credentials */
export function checkUrl(where: string, url: string): void {
  const { protocol, username, password } = URL.parse(url) ?? {}
  if (protocol !== 'https:' && protocol !== 'http:') refuse(where, `url is an absolute http(s) URL, not "${url}"`)
  if (username || password) refuse(where, 'url carries credentials; put them into a header')
}

/** @throws {MillraceError} `invalid_declaration` */
export function refuse(where: string, problem: string): never {
  throw new MillraceError('invalid_declaration', `${where}: ${problem}`)
}

function checkTarget(where: string, target: Target): void {
  if ((target.url === undefined) === (target.lambda === undefined)) refuse(where, 'it has either a url or a lambda')
  if (target.lambda !== undefined) checkLambda(where, target)
  else if (target.url.startsWith('binding:')) checkBinding(where, target)
  else checkUrl(where, target.url)
  if (!['sync', 'callback', undefined].includes(target.mode)) refuse(where, 'mode is "sync" or "callback"')
  checkSeconds(where, 'requestTimeoutSeconds', target.requestTimeoutSeconds)
  checkSeconds(where, 'callbackTimeoutSeconds', target.callbackTimeoutSeconds)
  checkInteger(where, 'concurrency', target.concurrency, 1, 10_000)
  if (!['boolean', 'undefined'].includes(typeof target.compatible)) refuse(where, 'compatible is true or false')
  if (target.statuses) checkStatuses(where, target.statuses)
  checkHeaders(where, target.headers ?? {})
  if (target.auth) checkAuth(where, target)
}

function checkLambda(where: string, { lambda, headers, auth }: LambdaTarget): void {
  if (typeof lambda?.function !== 'string' || lambdaNameOf(lambda) === undefined)
    refuse(where, 'lambda: function is a name or an ARN, with a region and a qualifier that it does not contradict')
  if (headers || auth) refuse(where, 'headers and auth are for URLs: who may invoke a function is a matter of IAM')
}

/** Nobody but the dispatcher's own account can reach a Worker that way. */
function checkBinding(where: string, { url, auth }: HttpTarget): void {
  if (bindingOf(url) === undefined || !URL.canParse(url))
    refuse(where, `url of a service binding is binding://NAME/path, not "${url}"`)
  if (auth) refuse(where, 'auth: a service binding asks for none')
}

const isName = (pattern: RegExp, value: unknown): boolean => typeof value === 'string' && pattern.test(value)

const SECRET_NAME = /^[A-Za-z][A-Za-z0-9_]{0,99}$/

/** A request that declares these itself cannot be sent; the database has the same list. */
const FRAMING = new Set(['connection', 'content-length', 'expect', 'keep-alive', 'transfer-encoding', 'upgrade'])

function checkHeaders(where: string, headers: NonNullable<HttpTarget['headers']>): void {
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== 'string' && !isName(SECRET_NAME, value?.secret))
      refuse(where, `headers: ${name} is a text, or a secret whose name has 1 to 100 letters, digits and underscores`)
    if (FRAMING.has(name.toLowerCase())) refuse(where, `headers: ${name} is the connection's own`)
    try {
      new Headers([[name, typeof value === 'string' ? value : '']])
    } catch (error) {
      refuse(where, `headers: ${(error as Error).message}`)
    }
  }
}

const AWS_NAME = /^[a-z0-9-]{1,50}$/

function checkAuth(where: string, { auth, headers = {} }: Pick<HttpTarget, 'auth' | 'headers'>): void {
  if (Object.keys(headers).some(name => name.toLowerCase() === 'authorization'))
    refuse(where, 'auth: the header authorization is declared already')
  if (auth?.type === 'oidc') {
    const { audience = 'origin' } = auth
    if (typeof audience !== 'string' || audience === '' || audience.length > 2_000)
      refuse(where, 'auth: audience has 1 to 2000 characters')
  } else if (auth?.type !== 'aws_sigv4') refuse(where, 'auth: type is "oidc" or "aws_sigv4"')
  else if (!isName(AWS_NAME, auth.region) || !isName(AWS_NAME, auth.service ?? 'lambda'))
    refuse(where, 'auth: region and service are names of AWS, such as "eu-west-1" and "lambda"')
}

function checkStatuses(where: string, { retry = [], final = [] }: NonNullable<HttpTarget['statuses']>): void {
  for (const status of [...retry, ...final]) checkInteger(where, 'a status', status, 300, 599)
  const both = retry.find(status => final.includes(status))
  if (both !== undefined) refuse(where, `statuses: ${both} is under both retry and final`)
}

const DAY_SECONDS = 24 * 3600
const LONGEST_LIST = 1000

function checkRetry(where: string, retry: RetryPolicy): void {
  if (!['exponential', 'linear', 'fixed', 'list'].includes(retry.strategy)) refuse(where, 'unknown strategy')
  if (retry.jitter !== undefined && !(retry.jitter >= 0 && retry.jitter <= 1))
    refuse(where, 'jitter is a share, 0 to 1')
  if (retry.strategy === 'list') checkDelays(where, retry.delaysSeconds)
  else if (retry.strategy === 'fixed') checkDelay(where, 'baseSeconds', retry.baseSeconds)
  else checkGrowth(where, retry)
}

function checkGrowth(where: string, retry: { baseSeconds?: number; capSeconds?: number }): void {
  checkSeconds(where, 'baseSeconds', retry.baseSeconds)
  checkSeconds(where, 'capSeconds', retry.capSeconds)
  if ((retry.baseSeconds ?? 0) > (retry.capSeconds ?? DAY_SECONDS)) refuse(where, 'baseSeconds is above capSeconds')
}

function checkDelays(where: string, delays: readonly number[]): void {
  if (delays.length < 1 || delays.length > LONGEST_LIST) refuse(where, `delaysSeconds has 1 to ${LONGEST_LIST} entries`)
  for (const delay of delays) checkDelay(where, 'delaysSeconds', delay)
}

/** These are given outright and may be 0; above the cap of a day they would be cut silently. */
function checkDelay(where: string, name: string, value: number): void {
  if (!(value >= 0 && value <= DAY_SECONDS)) refuse(where, `${name} is 0 to ${DAY_SECONDS} seconds, not ${value}`)
}

function checkSeconds(where: string, name: string, value: number | undefined): void {
  if (value === undefined || (value > 0 && value <= 30 * DAY_SECONDS)) return
  refuse(where, `${name} is above 0 and at most ${30 * DAY_SECONDS} seconds (30 days), not ${value}`)
}

/** @throws {MillraceError} `invalid_declaration` */
export function checkInteger(where: string, name: string, value: number | undefined, low: number, high: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= low && value <= high)) return
  refuse(where, `${name} is a whole number from ${low} to ${high}, not ${value}`)
}

/** Of a name: 1 to 200 characters. */
export const isLength = (text: string): boolean => text.length >= 1 && text.length <= 200
