// Public entry `millrace/callbacks`: the callback ingress.

export { type CallbackEvent, type CallbacksOptions, callbacks } from './callbacks/app.ts'
export type {
  AttemptRef,
  Beat,
  CallbackStore,
  Closed,
  CloseItem,
  EventItem,
  EventTaken,
  HeartbeatItem,
  Tried,
  Waited,
  WaitItem,
} from './engine.ts'
export {
  type ClientOf,
  type HeldBytes,
  type RequestLimits,
  type RequestLimitsOptions,
  requestLimits,
} from './request-limits.ts'
export { SqlEngine } from './sql-engine.ts'
