import type { Reporter, TestModule, Vitest } from 'vitest/node'

/** Says at the end, and loudly, which tests did not run because this machine lacks what they need. */
export class NotRunReporter implements Reporter {
  #chosen = false

  onInit({ config }: Vitest): void {
    // Who runs tests by name leaves the others out on purpose.
    this.#chosen = config.testNamePattern !== undefined
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules
      .map((module) => ({
        path: module.relativeModuleId,
        count: [...module.children.allTests('skipped')].length,
      }))
      .filter(({ count }) => count > 0)
    if (skipped.length === 0 || this.#chosen) return
    const lines = skipped.map(({ path, count }) => `  ${count} in ${path}`)
    process.stdout.write(
      `\n !! NOT RUN: tests that need more than this machine has (Synapse, redis-server, …)\n${lines.join('\n')}\n\n`,
    )
  }
}
