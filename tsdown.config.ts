// Builds what is published: every source file as an ES module of its own with its types, in the folders of the sources.

import { defineConfig } from 'tsdown'

export default defineConfig({
  entry: [
    'core/{index,admin,api,function,callbacks,maintenance,protocol}.ts',
    'functions/{aws,cloudflare}/index.ts',
    'functions/aws/{api,callbacks,lambda-invoker,tick}.ts',
    'functions/identity/index.ts',
    // No `cli` in the exports: it is the program `millrace`.
    'functions/node/{index,testing,cli}.ts',
  ],
  unbundle: true,
  root: '.',
  format: 'esm',
  // `.js`, as package.json says `"type": "module"`.
  fixedExtension: false,
  platform: 'neutral',
  target: 'es2024',
  dts: true,
  sourcemap: true,
  // Dependencies stay imports; those that are not declared fail the build.
  deps: { neverBundle: [/^node:/], onlyBundle: [] },
  failOnWarn: true,
  logLevel: 'warn',
})
