// What the demo says while it runs: one line at a time, with the name of the process it comes from.

import { styleText } from 'node:util'

export interface Narrator {
  /** A line of one process. */
  say(who: string, line: string): void
  /** Lines to copy from. */
  print(lines: readonly string[]): void
}

export type Say = Narrator['say']

const COLOURS = ['cyan', 'magenta', 'yellow', 'green', 'blue', 'red'] as const
const WIDTH = 9

export function narrator(stream: NodeJS.WriteStream): Narrator {
  const known: string[] = []
  return {
    say(who, line) {
      if (!known.includes(who)) known.push(who)
      const colour = COLOURS[known.indexOf(who) % COLOURS.length] ?? 'white'
      // styleText leaves the colours out where the stream, NO_COLOR or the terminal says so.
      stream.write(`${styleText(colour, who.padEnd(WIDTH), { stream })} │ ${line}\n`)
    },
    print: lines => void stream.write(`${lines.join('\n')}\n`),
  }
}
