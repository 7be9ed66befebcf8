// Public entry `millrace/function`: the receiver SDK for functions that do the work.

export { type BlobStore, type ClaimCheckOptions, claimCheck } from './claim-check.ts'
export { decodePayloads, type PayloadCodec, type PayloadContext } from './codec.ts'
export { encryptedPayloads } from './encrypted-payloads.ts'
export type { Conclusion } from './function/attempt.ts'
export type { Ending } from './function/ending.ts'
export { NonRetryableError, RetryLaterError, SnoozeError, WaitSignal } from './function/errors.ts'
export type { JobEvent, WaitForEventOptions } from './function/events.ts'
export { type Handler, handle } from './function/handler.ts'
export { honoDispatch, honoReceiver, honoWebhook } from './function/hono.ts'
export type { Job } from './function/job.ts'
export type { Occurrence } from './function/occurrence.ts'
export type { ReceiverPort } from './function/port.ts'
export type { HeaderSource, Message } from './function/receive.ts'
export { type RefusalCode, Refused } from './function/refused.ts'
export { type Receiver, type ReceiverEvent, type ServeOptions, serve, type WaitUntil } from './function/serve.ts'
export {
  type DispatchCallback,
  type VerifiedDispatch,
  type VerifyDispatchOptions,
  verifyDispatchMessage,
  verifyDispatchRequest,
} from './function/verify-dispatch.ts'
export {
  type VerifiedWebhook,
  type VerifyWebhookOptions,
  verifyWebhookMessage,
  verifyWebhookRequest,
  type WebhookEvent,
  type WebhookParts,
} from './function/verify-webhook.ts'
export { defineKind, type Kind } from './kind.ts'
