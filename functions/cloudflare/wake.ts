// Tells the maintenance object of work, from any Worker of the account.

/** What is used of a Durable Object namespace. */
export interface MaintenanceNamespace {
  idFromName(name: string): unknown
  get(
    id: unknown,
    options?: { locationHint?: never },
  ): { fetch(url: string, init?: RequestInit): Promise<{ status: number }> }
}

/** Which object; there is one, unless you shard. */
export interface MaintenanceAddress {
  /** `maintenance` unless given. */
  readonly name?: string | undefined
  /** Near the database, such as `weur`; counts for whoever reaches the object first. */
  readonly locationHint?: string | undefined
}

/**
 * Has the maintenance object look for work at once. Call it after the commit; within `ctx.waitUntil` it costs no time. Never
 * rejects: work that it could not tell of is found at the object's next alarm.
 *
 * @example
 * const job = await sql.begin(tx => enqueue(tx, renderReceipt, { orderId }))
 * ctx.waitUntil(wakeMaintenance(env.MAINTENANCE))
 */
export const wakeMaintenance = (namespace: MaintenanceNamespace, address?: MaintenanceAddress): Promise<void> =>
  poke(namespace, '/wake', address)

/**
 * The handler of a Cron Trigger, the safety net below the object's alarms: it sets an alarm where there is none or where it is
 * overdue, and else does nothing. It also starts a new object.
 *
 * @example
 * export default { scheduled: maintenanceCron<Env>(env => env.MAINTENANCE) }
 */
export const maintenanceCron =
  <Env>(
    namespace: (env: Env) => MaintenanceNamespace,
    address?: MaintenanceAddress,
  ): ((controller: unknown, env: Env) => Promise<void>) =>
  (_, env) =>
    poke(namespace(env), '/check', address)

async function poke(namespace: MaintenanceNamespace, path: string, address: MaintenanceAddress = {}): Promise<void> {
  const { name = 'maintenance', locationHint } = address
  try {
    const options = locationHint === undefined ? {} : { locationHint: locationHint as never }
    const object = namespace.get(namespace.idFromName(name), options)
    await object.fetch(`https://maintenance${path}`, { method: 'POST' })
  } catch (error) {
    console.error(`maintenance could not be reached: ${error instanceof Error ? error.message : String(error)}`)
  }
}
