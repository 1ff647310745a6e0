import type { Reporter, TestModule, Vitest } from 'vitest/node'

/**
 * Says at the end, and loudly, which tests did not run because this machine lacks what they need, and which of those
 * with whole servers passed only when they were tried again.
 */
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
    if (skipped.length > 0 && !this.#chosen) {
      say(
        'NOT RUN: tests that need more than this machine has (Synapse, redis-server, …)',
        skipped.map(({ path, count }) => `${count} in ${path}`),
      )
    }
    const again = modules.flatMap((module) =>
      [...module.children.allTests('passed')]
        .filter((test) => test.diagnostic()?.flaky)
        .map(
          (test) =>
            `${module.relativeModuleId} › ${test.fullName}: ${test.result().errors?.[0]?.message}`,
        ),
    )
    if (again.length > 0) say('PASSED ONLY WHEN TRIED AGAIN: look into it', again)
  }
}

function say(title: string, lines: readonly string[]): void {
  process.stdout.write(`\n !! ${title}\n${lines.map((line) => `  ${line}`).join('\n')}\n\n`)
}
