// How deeply JSON nests, found without recursion: parsers and Postgres have limits of their own, and ours comes first.

const [QUOTE, BACKSLASH] = [0x22, 0x5c]
const OPENING = new Set([0x5b, 0x7b])
const CLOSING = new Set([0x5d, 0x7d])

/** Arrays and objects within each other, at most, in what functions send us. */
export const MAX_DEPTH = 100

/** Looks at brackets outside of strings, before anything recursive sees the text. */
export function nestsDeeper(text: string, limit: number): boolean {
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (char === QUOTE) inString = !inString
    else if (inString && char === BACKSLASH) i++
    else if (!inString && OPENING.has(char) && ++depth > limit) return true
    else if (!inString && CLOSING.has(char)) depth--
  }
  return false
}
