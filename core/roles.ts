// Who may call what: the one table of SQL roles. A migration reads it (migrate-roles.ts), and so does `millrace roles`.

/** Looks at everything but secrets, and changes nothing: dashboards. */
const READER = [
  ...['dead_letter_depth', 'dead_letter_detail', 'get_batch', 'get_endpoint', 'is_restored', 'job', 'job_counts'],
  ...['job_detail', 'job_state', 'kind_stats', 'list_batches', 'list_dead_letters', 'list_deliveries'],
  ...['list_endpoints', 'list_follow_up_problems', 'list_jobs', 'list_leaders', 'list_runtimes', 'list_schedules'],
  ...['jobs_of_tenant', 'migrations', 'preview_batch', 'queue_stats'],
] as const

/** Applications: they enqueue, cancel and look up single jobs, and tell them of events. */
const ENQUEUER = [
  ...['cancel', 'cancel_by_key', 'enqueue', 'enqueue_jobs', 'enqueue_many', 'job', 'job_state', 'send_event'],
] as const

/** `millrace callbacks`. */
const INGRESS = ['close', 'heartbeat', 'send_event', 'wait'] as const

/** `millrace maintain` and `millrace tick`, whatever part of the work they do. */
const MAINTENANCE = [
  ...['batch_step', 'claim', 'close', 'deliver', 'delivery_routes', 'due_schedules', 'expire', 'fail_schedule'],
  ...['fire_schedule', 'kinds', 'lead', 'limited_until', 'open_batches', 'park', 'promote', 'prune', 'pulse', 'quiet'],
  ...['require_leader', 'rescue', 'resign', 'rotate', 'runtime_beat', 'runtime_sleep', 'runtime_start', 'runtime_stop'],
  ...['sleep_horizon', 'survey', 'wait'],
] as const

/** Operators, the admin API and the commands: all that applications and readers may, and to change what others enqueued. */
const OPERATOR = [
  ...READER,
  ...ENQUEUER,
  ...['api_key_by_hash', 'api_key_create', 'api_key_revoke', 'api_key_rotate', 'get_api_key', 'list_api_keys'],
  ...['list_audit'],
  ...['batch_step', 'cancel_batch', 'drain_queue', 'endpoint_create', 'endpoint_delete', 'endpoint_disable'],
  ...['endpoint_enable', 'endpoint_rotate', 'endpoint_test', 'endpoint_update', 'move', 'open_batches', 'pause_queue'],
  ...['pause_schedule', 'purge_batches', 'purge_dead_letters', 'redeliver', 'redeliver_many', 'resume_queue'],
  ...['resume_schedule', 'retry', 'retry_dead_letters', 'submit_batch', 'trigger_schedule'],
] as const

/** Deployments: they declare where jobs are sent and what webhooks are signed with, which is more than any of the others may. */
const DEPLOYER = ['endpoint_reseal', 'endpoint_secrets', 'sync_manifest'] as const

/** The SQL functions that each role may execute. It may nothing else: no table, no sequence. */
export const ROLES = {
  enqueuer: ENQUEUER,
  ingress: INGRESS,
  maintenance: MAINTENANCE,
  reader: READER,
  operator: OPERATOR,
  deployer: DEPLOYER,
} as const satisfies Readonly<Record<string, readonly string[]>>

export type Role = keyof typeof ROLES

export const roleNames = Object.keys(ROLES) as Role[]

/** Without those that it has twice, in order. */
export const functionsOf = (role: Role): readonly string[] => [...new Set<string>(ROLES[role])].sort()

/** Who may execute this one has the role, and is given what the role gains by a migration. */
export const markerOf = (role: Role): string => `role_${role}`
