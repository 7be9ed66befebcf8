// Which way imports run: values <- ports <- services <- apps <- entries, inside a core that knows no platform.

/** Shapes, errors, checks and small tools; they know each other only. */
const VALUES =
  '^core/(args|database-errors|declaration|errors|event-name|follow-up|follow-up-declaration|grouping|json|json-text|kind|kind-options|lambda-target|loopback|rate-limit|read-body|retry-after|signal|subscription|target-auth|target-url|wire)\\.ts$'
/** What the core asks of the world, and the wire protocol's keys and signatures. */
const PORTS =
  '^core/((drivers|engine|sql)\\.ts$|dispatch/(transport|lambda-invoker|events)\\.ts$|function/port\\.ts$|protocol/)'
/** What a role consists of at its top. */
const APPS = '^core/(api/|callbacks/app\\.ts$|function/(serve|hono)\\.ts$|maintenance/)'
/** Public entry points: they only re-export. */
const ENTRIES = '^core/(index|admin|api|callbacks|function|maintenance|protocol)\\.ts$'
const OUTSIDE_OF_CORE = '^(functions|infra|migrations|examples|bench|chaos|fuzz|test)/'

/** What the core may use from npm; no driver, no HTTP client or server of a platform, no cloud SDK. */
const PORTABLE_PACKAGES =
  '^node_modules/(hono|@noble/hashes|@standard-schema/spec|croner|ipaddr\\.js|@marcbachmann/cel-js)/'
const NPM = ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-bundled', 'npm-no-pkg', 'npm-unknown']

const rule = (name, comment, from, to) => ({ name, severity: 'error', comment, from, to })

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    rule('no-cycles', 'A cycle has no first file to read.', {}, { circular: true }),
    rule('all-resolve', 'What is imported exists.', {}, { couldNotResolve: true }),

    rule(
      'values-know-values',
      'They are what everything else rests on.',
      { path: VALUES },
      { path: '^core/', pathNot: VALUES },
    ),
    rule('ports-know-values', '', { path: PORTS }, { path: '^core/', pathNot: [VALUES, PORTS] }),
    rule('services-know-no-apps', '', { path: '^core/', pathNot: [APPS, ENTRIES] }, { path: APPS }),
    rule(
      'entries-are-the-top',
      'Entries are for users; the core imports the file itself.',
      { path: '^core/' },
      { path: ENTRIES },
    ),

    rule(
      'roles-stand-alone',
      'Ingress, receiver and dispatcher are deployed apart, so none drags another along.',
      { path: '^core/(api|callbacks|function|dispatch)/' },
      { path: '^core/(api|callbacks|function|dispatch|maintenance)/', pathNot: '^core/$1/' },
    ),
    rule(
      'receiver-knows-no-database',
      'A function holds no connection and no statement.',
      { path: '^core/function/' },
      {
        path: '^core/(sql|sql-engine|maintenance-engine|drivers|client|manifest|enqueue|database-errors|migrate)[^/]*\\.ts$',
      },
    ),
    rule(
      'ingress-knows-its-store-as-a-port',
      'Its two verbs are all it needs.',
      { path: '^core/callbacks/' },
      { path: '^core/(sql|sql-engine|maintenance-engine|drivers|client|manifest|enqueue|migrate)[^/]*\\.ts$' },
    ),

    rule('core-knows-no-platform', '', { path: '^core/' }, { path: OUTSIDE_OF_CORE }),
    rule(
      'core-has-no-node-modules',
      'It runs on Workers and Lambda too: Web APIs only.',
      { path: '^core/' },
      { dependencyTypes: ['core'] },
    ),
    rule(
      'core-has-few-packages',
      'Drivers and SDKs come in through ports.',
      { path: '^core/' },
      { dependencyTypes: NPM, pathNot: PORTABLE_PACKAGES },
    ),
    rule(
      'platforms-stand-alone',
      'What dispatches identify themselves by runs on Web APIs alone, on any of them; the program may invoke functions of Lambda.',
      {
        path: '^functions/([^/]+)/',
        pathNot: ['^functions/node/cli-lambda\\.ts$', '^functions/aws/(environment|tick)\\.ts$'],
      },
      { path: '^functions/', pathNot: '^functions/($1|identity)/' },
    ),
    rule(
      'lambda-runs-node',
      'So its roles connect as those of Node do, and take nothing else from there.',
      { path: '^functions/aws/' },
      { path: '^functions/', pathNot: '^functions/(aws/|identity/|node/(postgres-sql|undici-transport)\\.ts$)' },
    ),
    rule('functions-only-wire', '', { path: '^functions/' }, { path: '^(infra|examples|bench|chaos|fuzz)/' }),
    rule(
      'published-code-has-its-dependencies',
      "What is published must not need a development dependency. AWS's SDK is an optional peer, behind an entry of its own.",
      { path: '^(core|functions)/', pathNot: '^functions/aws/lambda-invoker\\.ts$' },
      { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    ),

    rule(
      'examples-use-entries',
      "They show what a user's code looks like.",
      { path: '^examples/' },
      {
        path: '^(core|functions)/',
        pathNot: [ENTRIES, '^functions/(node/(index|testing)|cloudflare/index)\\.ts$'],
      },
    ),
    rule(
      'nothing-imports-examples',
      'But the tests that run them.',
      { pathNot: '^(examples|test)/' },
      { path: '^examples/' },
    ),
    rule('nothing-imports-bench', '', { pathNot: '^bench/' }, { path: '^bench/' }),
    rule('nothing-imports-chaos', 'But the tests that run it.', { pathNot: '^(chaos|test)/' }, { path: '^chaos/' }),
    rule('nothing-imports-fuzz', 'But the tests that run it.', { pathNot: '^(fuzz|test)/' }, { path: '^fuzz/' }),
    rule(
      'nothing-imports-test',
      'But the tests and their runner.',
      { pathNot: '^(test/|vitest\\.config\\.ts$)' },
      { path: '^test/' },
    ),
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    // Imports of types count: they say who must know whom as well.
    tsPreCompilationDeps: true,
    // The package's own name leads to its sources.
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['millrace-source', 'import', 'node', 'default', 'types'],
    },
    doNotFollow: { path: 'node_modules' },
  },
}
