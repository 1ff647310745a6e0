import { defineConfig } from 'vitest/config'

/**
 * spec: pure functions. slices: the engine and its two borders, on a Postgres of the run's own. conformance: HTTP
 * against started servers. tidy: the shape of the code.
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: process.env['CI_REPORT']
      ? ['default', ['json', { outputFile: process.env['CI_REPORT'] }]]
      : ['default'],
    projects: [
      { test: { name: 'spec', include: ['spec/**/*.test.ts'] } },
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
        },
      },
      {
        test: {
          name: 'conformance',
          include: ['conformance-tests/**/*.test.ts'],
          exclude: ['conformance-tests/tidy.test.ts', 'conformance-tests/log-checker/**'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      { test: { name: 'tidy', include: ['conformance-tests/tidy.test.ts'] } },
    ],
  },
})
