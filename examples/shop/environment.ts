// The environment variables a process cannot do without.

/** Answers the named variables; ends the process with a clear word when one is missing. */
export function environment<Name extends string>(...names: Name[]): Record<Name, string> {
  const missing = names.filter(name => !process.env[name])
  if (missing.length > 0) {
    console.error(`missing in the environment: ${missing.join(', ')}`)
    process.exit(2)
  }
  return Object.fromEntries(names.map(name => [name, process.env[name]])) as Record<Name, string>
}
