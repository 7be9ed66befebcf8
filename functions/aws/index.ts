// Public entry `millrace/aws`: what the roles and functions need on AWS.

export { type LambdaHttpAnswer, lambdaAnswer } from './answer.ts'
export { type HttpEventV1, type HttpEventV2, type LambdaHttpEvent, lambdaRequest, type PathMapping } from './event.ts'
export { type LambdaHandler, type LambdaHandlerOptions, lambdaHandler } from './handler.ts'
export type { LambdaInvocationAnswer, LambdaInvocationEvent } from './invocation.ts'
export { lambdaApp, lambdaLimits } from './lambda-app.ts'
export { type AwsCredentials, type S3BlobStoreOptions, s3BlobStore } from './s3-blob-store.ts'
export { type LambdaClock, type ScheduledTick, scheduledTick } from './scheduled-tick.ts'
