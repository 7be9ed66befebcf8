// Public entry `millrace/protocol`: keys, tokens and signatures, for whoever speaks the wire protocol without the SDK.

export { type CallbackId, decodeCallbackId, encodeCallbackId } from './protocol/callback-id.ts'
export {
  attemptKey,
  type SignedCallback,
  signCallback,
  signCompatible,
  verifyCallback,
  verifyCompatible,
} from './protocol/callback-signature.ts'
export { callbackUrl, eventsUrl, normalizePrefix } from './protocol/callback-url.ts'
export { callbackIdOf, type DispatchToSign, dispatchHeaders, idempotencyKeyOf } from './protocol/dispatch-headers.ts'
export { type SignedRequest, signDispatch, verifyDispatch } from './protocol/dispatch-signature.ts'
export { type EventToken, eventKey, eventToken, readEventToken } from './protocol/event-token.ts'
export { activateKey, addKey, fingerprint } from './protocol/key-rotation.ts'
export {
  deriveDispatchKeyring,
  formatKeyring,
  generateKeyring,
  type Keyring,
  parseKeyring,
  type SigningKey,
} from './protocol/keyring.ts'
export { deriveSealingKeyring, seal, unseal } from './protocol/sealing.ts'
export { TOLERANCE_SECONDS, type Verdict } from './protocol/signature-header.ts'
export {
  generateWebhookSecret,
  signWebhook,
  verifyWebhook,
  type WebhookHeaders,
  type WebhookMessage,
} from './protocol/webhook.ts'
export {
  generateWebhookKeyPair,
  signWebhookAsymmetric,
  verifyWebhookAsymmetric,
  type WebhookKeyPair,
  webhookPublicKey,
} from './protocol/webhook-ed25519.ts'
export * from './wire.ts'
