// Functions of AWS Lambda as targets: how they are named.

/** A function that is invoked directly, by whoever dispatches, through Lambda's API. */
export interface LambdaFunction {
  /** Name, or ARN in full or in part, with or without a qualifier. */
  readonly function: string
  /** Of the ARN, or the dispatcher's own, unless given. */
  readonly region?: string
  /** A version or an alias. */
  readonly qualifier?: string
}

export interface LambdaName {
  /** The bare name, as the function knows it too: `AWS_LAMBDA_FUNCTION_NAME`. It is part of what is signed. */
  readonly name: string
  readonly region: string | undefined
  readonly qualifier: string | undefined
  /** What invocations are limited by together: the function, whatever the qualifier. */
  readonly gate: string
}

const FUNCTION =
  /^(?:(?:arn:aws[a-z-]*:lambda:([a-z0-9-]{1,50}):)?(\d{12}):function:)?([A-Za-z0-9_-]{1,64})(?::(\$LATEST|[A-Za-z0-9_-]{1,128}))?$/
const REGION = /^[a-z0-9-]{1,50}$/
const QUALIFIER = /^(\$LATEST|[A-Za-z0-9_-]{1,128})$/

/** Undefined for what cannot be a function, or is said twice in different ways. */
export function lambdaNameOf(given: LambdaFunction): LambdaName | undefined {
  const found = FUNCTION.exec(given.function)
  if (found === null) return undefined
  const [, ofArn, account, name = '', suffix] = found
  const [region, qualifier] = [given.region ?? ofArn, given.qualifier ?? suffix]
  if (!REGION.test(region ?? 'none') || !QUALIFIER.test(qualifier ?? 'none')) return undefined
  if ((ofArn ?? region) !== region || (suffix ?? qualifier) !== qualifier) return undefined
  const gate = ['lambda', region, account, name].filter(part => part !== undefined).join(':')
  return { name, region, qualifier, gate }
}
