// Ends a run with one plain line of counts, for readers that are not people.

import type { Reporter, TestModule } from 'vitest/node'

export class CountReporter implements Reporter {
  #line = '0 passed, 0 failed, 0 skipped'

  onInit(): void {
    // After everything else that is printed.
    process.once('exit', () => console.log(`\n${this.#line}`))
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const count = { passed: 0, failed: errors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      for (const test of module.children.allTests()) count[test.result().state]++
      // A file that did not load, or whose hooks failed, counts once.
      if (module.errors().length > 0) count.failed++
    }
    this.#line = `${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped`
  }
}
