import { defineConfig } from 'vitest/config'
import { NotRunReporter } from './conformance-tests/not-run.ts'

/** Where the results go as JSON besides, for CI. */
const { CI_REPORT: report } = process.env

/**
 * spec: pure functions. slices: the engine and its two borders, on a Postgres of the run's own. conformance: HTTP
 * against started servers. scenarios: whole clients, kills and restarts. tidy: the shape of the code.
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: [
      'default',
      new NotRunReporter(),
      ...(report ? [['json', { outputFile: report }] satisfies ['json', object]] : []),
    ],
    projects: [
      { test: { name: 'spec', include: ['spec/**/*.test.ts'], testTimeout: 30_000 } },
      {
        test: {
          name: 'slices',
          include: [
            'homeserver/**/*.test.ts',
            'client-api/**/*.test.ts',
            'federation/**/*.test.ts',
            'conformance-tests/log-checker/**/*.test.ts',
          ],
          globalSetup: ['homeserver/database/test-cluster.ts'],
          testTimeout: 30_000,
          hookTimeout: 60_000,
          // Some measure how long things take; a second try is said in the summary.
          retry: process.env['CI'] ? 1 : 0,
        },
      },
      'conformance-tests/vitest.config.ts',
      {
        test: {
          name: 'scenarios',
          include: [
            'conformance-tests/clients/**/*.test.ts',
            'conformance-tests/durability/**/*.test.ts',
          ],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          retry: process.env['CI'] ? 1 : 0,
        },
      },
      { test: { name: 'tidy', include: ['conformance-tests/tidy.test.ts'], testTimeout: 30_000 } },
    ],
  },
})
