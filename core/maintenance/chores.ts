// The leader's chores, in the order in which a tick does them.

import { batches } from './batches.ts'
import type { ChoreStep } from './chore.ts'
import { expire } from './expire.ts'
import { prune } from './prune.ts'
import { rotate } from './rotate.ts'
import { survey } from './survey.ts'

export const CHORES: readonly ChoreStep[] = [survey, rotate, prune, expire, batches]
