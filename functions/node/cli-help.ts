// The help texts of the `millrace` program, and its guess at what a mistyped command was meant to be.

import type { Command, Group, Option, Options } from './cli-command.ts'

/** Options of every command. */
export const commonOptions = {
  json: { type: 'boolean', help: 'print the result, and any error, as JSON' },
  help: { type: 'boolean', short: 'h', help: 'show this help' },
} as const satisfies Options

export function programHelp(entries: readonly (Command | Group)[]): string {
  const rows = entries.map(({ name, summary }) => [name, summary] as const)
  return [
    'Usage: millrace <command> [options]',
    '',
    'Commands:',
    ...table(rows),
    '',
    'millrace <command> --help tells more of a command, millrace --version its version.',
    'Exit status: 0 done, 1 failed, 2 wrong usage.',
  ].join('\n')
}

export function groupHelp({ name, summary, commands }: Group): string {
  const rows = commands.map(command => [command.name, command.summary] as const)
  const usage = `Usage: millrace ${name} <command> [options]`
  return [
    usage,
    '',
    summary,
    '',
    'Commands:',
    ...table(rows),
    '',
    `millrace ${name} <command> --help tells more.`,
  ].join('\n')
}

export function commandHelp({ name, summary, operands, details, options }: Command): string {
  const rows = Object.entries<Option>({ ...options, ...commonOptions }).map(([option, { short, value, help }]) => {
    const names = short ? `-${short}, --${option}` : `--${option}`
    return [value ? `${names} ${value}` : names, help] as const
  })
  const usage = ['Usage: millrace', name, operands, '[options]'].filter(Boolean).join(' ')
  return [usage, '', summary, ...(details ? ['', details] : []), '', 'Options:', ...table(rows)].join('\n')
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)
}

/** The name nearest to `typed`, if it is near enough. */
export function nearest(typed: string, names: readonly string[]): string | undefined {
  const ranked = names.map(name => ({ name, distance: distance(typed, name) })).sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  return best && best.distance <= Math.max(1, Math.floor(best.name.length / 2)) ? best.name : undefined
}

/** Levenshtein's: how many letters to add, drop or change. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
