// How a process that stays is asked to end.

/** Resolves at the first request to end; later ones do not interrupt the shutdown. */
export const stopRequest = (): Promise<'asked'> =>
  new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve('asked'))
  })
