#!/usr/bin/env node
/**
 * Runs the conformance suite against a homeserver.
 *
 *   npm run conformance -- --launcher PATH [--second PATH] [--area NAME …] [--report FILE] [--url URL --name SERVER_NAME]
 *
 * --launcher  starts the server under test (docs/launcher.md); default: this project's server
 * --second    starts the second server of the two-server area; default: the same launcher
 * --url       tests a running server instead; what needs federation or a restart is left out
 * --area      only files whose path contains this word, e.g. sync, federation/joins; may be repeated
 * --report    also writes the results as JSON
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const suite = join(dirname(fileURLToPath(import.meta.url)), '..')
const { values } = parseArgs({
  options: {
    launcher: { type: 'string' },
    second: { type: 'string' },
    url: { type: 'string' },
    name: { type: 'string' },
    secret: { type: 'string' },
    area: { type: 'string', multiple: true },
    report: { type: 'string' },
    test: { type: 'string' },
    help: { type: 'boolean' },
  },
})

if (values.help || (values.url && !values.name)) {
  process.stdout.write(
    'npm run conformance -- --launcher PATH [--second PATH] [--area NAME …] [--test PATTERN] [--report FILE]\n' +
      'npm run conformance -- --url URL --name SERVER_NAME [--secret SHARED_SECRET] …\n',
  )
  process.exit(values.help ? 0 : 2)
}
for (const path of [values.launcher, values.second]) {
  if (path && !existsSync(path)) {
    process.stderr.write(`there is no launcher ${path}\n`)
    process.exit(2)
  }
}

const variables = {
  CONFORMANCE_ALL: '1',
  CONFORMANCE_LAUNCHER: values.launcher && resolve(values.launcher),
  CONFORMANCE_SECOND: values.second && resolve(values.second),
  CONFORMANCE_URL: values.url?.replace(/\/$/, ''),
  CONFORMANCE_SERVER_NAME: values.name,
  CONFORMANCE_SHARED_SECRET: values.secret,
}
const given = Object.fromEntries(
  Object.entries(variables).filter(([, value]) => value !== undefined),
)
const report = values.report
  ? ['--reporter=json', `--outputFile.json=${resolve(values.report)}`]
  : []
const vitest = join(suite, '../node_modules/vitest/vitest.mjs')
const run = spawnSync(
  process.execPath,
  [
    vitest,
    'run',
    '--config',
    join(suite, 'vitest.config.ts'),
    '--reporter=default',
    ...report,
    ...(values.test ? ['-t', values.test] : []),
    ...(values.area ?? []),
  ],
  { stdio: 'inherit', cwd: suite, env: { ...process.env, ...given } },
)
process.exit(run.status ?? 1)
