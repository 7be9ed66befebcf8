// What the maintenance object is given.

import type { Transport } from '../../core/dispatch/transport.ts'
import type { SendingOptions } from '../../core/maintenance/options.ts'
import type { AllowedTargets } from '../../core/target-guard.ts'
import type { WorkerDatabase } from './database.ts'

export interface MaintenanceObjectOptions extends Omit<SendingOptions, 'sql' | 'transport' | 'inHand' | 'batch'> {
  /** Of one slice: a connection of its own. */
  readonly database: WorkerDatabase
  /** Where `binding://NAME/path` leads: `env` unless given. */
  readonly bindings?: Readonly<Record<string, unknown>> | undefined
  /** Besides TLS to public addresses; see `fetchTransport`. */
  readonly allow?: AllowedTargets | undefined
  /** `fetchTransport` unless given. */
  readonly transport?: Transport | undefined
  /** How long a slice of work may take, in seconds: 20. */
  readonly budgetSeconds?: number | undefined
  /** Jobs claimed in a slice, or up to 50 more: 500. A plan that allows fewer subrequests needs fewer. */
  readonly maxJobs?: number | undefined
  /** Requests in flight at once: 5. A Worker has six connections, one of which is the database's. */
  readonly requests?: number | undefined
  /**
   * How long it sleeps at most, in seconds: 600. So late may be what nobody told it of: chores, and jobs that were enqueued without
   * `wakeMaintenance`.
   */
  readonly longestSleepSeconds?: number | undefined
}
