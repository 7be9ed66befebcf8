// How a process that stays is asked to end.

export interface StopRequestOptions {
  /** SIGINT, SIGTERM and SIGHUP unless given. */
  readonly signals?: readonly NodeJS.Signals[]
  /** What a further request does: nothing unless given, so that it does not interrupt the shutdown. */
  readonly again?: () => void
}

/** Resolves at the first request to end. */
export function stopRequest(options: StopRequestOptions = {}): Promise<'asked'> {
  const { signals = ['SIGINT', 'SIGTERM', 'SIGHUP'], again } = options
  return new Promise(resolve => {
    let asked = false
    for (const signal of signals) {
      process.on(signal, () => {
        if (asked) again?.()
        asked = true
        resolve('asked')
      })
    }
  })
}
