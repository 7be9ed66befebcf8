// What `--lambda` stands for: functions of AWS Lambda are invoked, with the credentials that AWS's SDK finds.

import type { LambdaInvoker } from '../../core/dispatch/lambda-invoker.ts'
import { MillraceError } from '../../core/errors.ts'
import type { Options } from './cli-command.ts'

export const lambdaOption = {
  lambda: {
    type: 'boolean',
    help: 'invoke the functions of AWS Lambda that kinds name as targets; needs @aws-sdk/client-lambda, and AWS_REGION',
  },
} as const satisfies Options

/** @throws {MillraceError} `missing_dependency` */
export async function lambdaInvokerOf(isAsked = false): Promise<LambdaInvoker | undefined> {
  if (!isAsked) return undefined
  // The SDK would look for a metadata service, which there is on machines of AWS only, and wait for it.
  process.env.AWS_EC2_METADATA_DISABLED ??= 'true'
  const { lambdaInvoker } = await import('../aws/lambda-invoker.ts').catch(error => {
    throw new MillraceError('missing_dependency', 'AWS SDK for Lambda is not installed', {
      hint: 'npm install @aws-sdk/client-lambda',
      cause: error,
    })
  })
  return lambdaInvoker()
}
