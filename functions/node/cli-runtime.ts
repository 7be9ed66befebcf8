// `millrace runtime`: who is at work.

import { adminCommand, none } from './cli-admin.ts'
import type { Group } from './cli-command.ts'
import { moment, table } from './cli-table.ts'

const listCommand = adminCommand({
  name: 'runtime list',
  operands: '',
  summary: 'Lists the processes that dispatch, and who leads.',
  options: {},
  async run({ positionals, admin, result }) {
    none(positionals)
    const items = await admin.runtimes.list()
    const leaders = await admin.runtimes.leaders()
    const rows = table(items, [
      { title: 'ID', of: ({ id }) => id, right: true },
      { title: 'NAME', of: ({ name }) => name, shrinks: true },
      { title: 'STATE', of: ({ alive, sleeping }) => (alive ? (sleeping ? 'asleep' : 'awake') : 'lost') },
      { title: 'STARTED', of: runtime => moment(runtime.started_at) },
      { title: 'SEEN', of: runtime => moment(runtime.seen_at) },
    ])
    const leads = leaders.map(leader => `${leader.holder} ${leader.alive ? 'leads' : 'led'}, epoch ${leader.epoch}`)
    result([...(items.length > 0 ? rows : ['No dispatchers']), ...leads].join('\n'), { items, leaders, cursor: null })
  },
})

export const runtimeGroup: Group = { name: 'runtime', summary: 'Lists who is at work.', commands: [listCommand] }
