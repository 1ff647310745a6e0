import { defineConfig } from 'vitest/config'

/** The suite on its own, as `npm run conformance` runs it. */
// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  root: import.meta.dirname,
  cacheDir: '../node_modules/.vite',
  test: {
    name: 'conformance',
    include: ['client/**/*.test.ts', 'federation/**/*.test.ts', 'two-servers/**/*.test.ts'],
    globalSetup: ['./harness/global-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    retry: 0,
  },
})
