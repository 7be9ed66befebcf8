// Expressions in CEL (https://cel.dev) over what an event brings: checked when they are registered, bounded when they run.
//
// Both the expression and the event may come from somebody who means harm. So what is asked for by name is on a list,
// without regular expressions and without bindings (which double a value in a few characters each), and wherever work or
// memory can grow with the event's size, the expression is rewritten to pay for it out of a budget.

import { type ASTNode, Environment } from '@marcbachmann/cel-js'
import { MillraceError } from '../errors.ts'

/** One expression, ready to be evaluated. */
export interface Expression {
  readonly text: string
  /** @throws {Error} what went wrong with this payload, or that it takes too much work */
  evaluate(payload: unknown): unknown
}

/** Characters. */
const MAX_EXPRESSION_LENGTH = 4_000
/** A unit is a value looked at or made, or 16 characters of a text; so many take well below half a second. */
const BUDGET = 100_000
const CHARACTERS_PER_UNIT = 16
const METER = 'millrace_meter'

const FUNCTIONS: ReadonlySet<string> = new Set([
  ...['has', 'size', 'type', 'dyn', 'int', 'uint', 'double', 'string', 'bool', 'timestamp', 'duration'],
])
const METHODS: ReadonlySet<string> = new Set([
  ...['size', 'startsWith', 'endsWith', 'contains', 'lowerAscii', 'upperAscii', 'trim', 'indexOf', 'lastIndexOf'],
  ...['substring', 'split', 'join', 'getFullYear', 'getMonth', 'getDate', 'getDayOfMonth', 'getDayOfWeek'],
  ...['getDayOfYear', 'getHours', 'getMinutes', 'getSeconds', 'getMilliseconds'],
])
const LOOPS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'map', 'filter'])

let left = 0
let isSpent = false

function pay(units: number): void {
  left -= units
  if (left >= 0) return
  isSpent = true
  throw new Error('The expression takes too much work for this event')
}

const settings = { unlistedVariablesAreDyn: false, homogeneousAggregateLiterals: false }
const checking = new Environment({ ...settings, limits: { maxAstNodes: 1_000, maxDepth: 50 } }).registerVariable(
  'payload',
  'dyn',
)
const running = new Environment(settings).registerVariable('payload', 'dyn').registerFunction(
  `${METER}(ast): dyn`,
  // As the package's own macros are made: what it stands around keeps its type.
  // biome-ignore lint/suspicious/noExplicitAny: the package has no types for macros
  ({ args: [inner] }: any): any => ({
    async: false,
    // biome-ignore lint/suspicious/noExplicitAny: as above
    typeCheck: (checker: any, _macro: unknown, context: unknown) => checker.check(inner, context),
    // biome-ignore lint/suspicious/noExplicitAny: as above
    evaluate(evaluator: any, _macro: unknown, context: unknown) {
      // Once it is spent nothing more begins, also where CEL goes on after errors.
      pay(1)
      const value: unknown = evaluator.run(inner, context)
      payFor(value)
      return value
    },
  }),
)

const known = new Map<string, Expression>()

/**
 * Checks an expression and makes it ready; `wants` is what it must come to.
 *
 * @throws {MillraceError} `invalid_expression`
 */
export function expression(text: string, wants: 'bool' | 'anything', name: string): Expression {
  const key = `${wants} ${text}`
  const found = known.get(key)
  if (found !== undefined) return found
  if (known.size >= 256) known.clear()
  const made = compiled(text, wants, name)
  known.set(key, made)
  return made
}

function compiled(text: string, wants: 'bool' | 'anything', name: string): Expression {
  const invalid = (why: string) => new MillraceError('invalid_expression', `${name}: ${why}`)
  if (text.length > MAX_EXPRESSION_LENGTH) throw invalid(`more than ${MAX_EXPRESSION_LENGTH} characters`)
  const { valid, type, error } = checking.check(text)
  if (!valid) throw invalid(firstLine(error))
  if (wants === 'bool' && type !== 'bool' && type !== 'dyn') throw invalid(`must be true or false, but is ${type}`)
  const program = parsed(`${METER}(${metered(checking.parse(text).ast, invalid)})`, invalid)
  const result = program.check()
  if (!result.valid) throw invalid(firstLine(result.error))
  return { text, evaluate: payload => withBudget(() => program({ payload })) }
}

/** With its brackets a long chain of operators nests deeper than what stands there. */
function parsed(text: string, invalid: Invalid): ReturnType<Environment['parse']> {
  try {
    return running.parse(text)
  } catch (error) {
    throw invalid(`too many operators in a row: ${firstLine(error as Error)}`)
  }
}

function withBudget(work: () => unknown): unknown {
  left = BUDGET
  isSpent = false
  const value = work()
  if (isSpent) throw new Error('The expression takes too much work for this event')
  return value
}

/** Pays for all that is in a value, and stops looking when that is too much. */
function payFor(value: unknown): void {
  pay(typeof value === 'string' ? 1 + value.length / CHARACTERS_PER_UNIT : 1)
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (const item of value) payFor(item)
    return
  }
  for (const name of Object.keys(value)) {
    pay(1 + name.length / CHARACTERS_PER_UNIT)
    payFor((value as Record<string, unknown>)[name])
  }
}

type Invalid = (why: string) => Error
/** `paid`: what the part comes to is paid for. */
type Render = (part: ASTNode, paid?: boolean) => string

/** The expression's text again, with the meter around everything whose size or work is up to the event. */
function metered(node: ASTNode, invalid: Invalid): string {
  const render: Render = (part, paid = false) => {
    const text = metered(part, invalid)
    return paid && part.op !== 'value' ? `${METER}(${text})` : text
  }
  switch (node.op) {
    case 'value':
      return node.input.slice(node.start, node.end)
    case 'id':
      return node.args
    case '.':
      return `(${render(node.args[0])})${/^\w+$/.test(node.args[1]) ? `.${node.args[1]}` : `[${JSON.stringify(node.args[1])}]`}`
    case '[]':
      return `(${render(node.args[0])})[${render(node.args[1])}]`
    case 'list':
      return `[${node.args.map(item => render(item)).join(', ')}]`
    case 'map':
      return `{${node.args.map(([key, value]) => `${render(key)}: ${render(value)}`).join(', ')}}`
    case '?:':
      return `(${render(node.args[0])} ? ${render(node.args[1])} : ${render(node.args[2])})`
    case '!_':
      return `!(${render(node.args)})`
    case '-_':
      return node.args.op === 'value' ? `-${render(node.args)}` : `-(${render(node.args)})`
    case 'call':
      return functionCall(node, render, invalid)
    case 'rcall':
      return methodCall(node.args, render, invalid)
    case '.?':
    case '[?]':
      throw invalid('there are no optional values here')
    default:
      return binary(node.op, node.args, render)
  }
}

function binary(op: string, [left, right]: [ASTNode, ASTNode], render: Render): string {
  const compares = op === '==' || op === '!=' || op === 'in'
  const text = `(${render(left)} ${op} ${render(right, compares)})`
  return op === '+' ? `${METER}(${text})` : text
}

function functionCall(node: Extract<ASTNode, { op: 'call' }>, render: Render, invalid: Invalid): string {
  const [name, args] = node.args
  // Its argument is a path of names, and may be nothing else.
  if (name === 'has') return node.input.slice(node.start, node.end)
  if (!FUNCTIONS.has(name)) throw invalid(`there is no function ${name} here`)
  return `${name}(${args.map(arg => render(arg, true)).join(', ')})`
}

function methodCall([name, of, args]: [string, ASTNode, ASTNode[]], render: Render, invalid: Invalid): string {
  if (LOOPS.has(name)) {
    const [variable, ...bodies] = args as [ASTNode, ...ASTNode[]]
    return `(${render(of)}).${name}(${[render(variable), ...bodies.map(body => render(body, true))].join(', ')})`
  }
  if (!METHODS.has(name)) throw invalid(`there is no method ${name} here`)
  // A time in another time zone takes a hundred times as long.
  if (name.startsWith('get') && args.length > 0) throw invalid(`${name} takes no time zone here`)
  return `(${render(of, true)}).${name}(${args.map(arg => render(arg, true)).join(', ')})`
}

const firstLine = (error: Error | undefined): string => error?.message.split('\n')[0] ?? 'it is not valid'
