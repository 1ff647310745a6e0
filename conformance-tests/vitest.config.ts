import { defineConfig } from 'vitest/config'

const { CONFORMANCE_ALL: all, CONFORMANCE_URL: url } = process.env
/** A server that somebody else runs does not trust the peers of this suite. */
const areas = (url ? ['client'] : ['client', 'federation', 'two-servers']).map(
  (area) => `${area}/**/*.test.ts`,
)
/** Whole clients, kills and restarts: `npm test` runs them as a project of their own. */
const scenarios = ['clients', 'durability'].map((area) => `${area}/**/*.test.ts`)

/** The suite on its own, as `npm run conformance` runs it. */
// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  root: import.meta.dirname,
  cacheDir: '../node_modules/.vite',
  test: {
    name: 'conformance',
    include: [
      'behaviours.test.ts',
      'harness/**/*.test.ts',
      ...areas,
      ...(all && !url ? scenarios : []),
    ],
    globalSetup: ['./harness/global-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    // Whole servers on a busy machine: a second try is said in the summary. Nobody waits for one at the desk.
    retry: process.env['CI'] ? 1 : 0,
  },
})
