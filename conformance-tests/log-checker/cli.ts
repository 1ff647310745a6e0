import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createDatabase } from '../../homeserver/database/database.ts'
import { startEmbeddedPostgres } from '../../homeserver/database/embedded-postgres.ts'
import { migrate } from '../../homeserver/database/migrate.ts'
import { databaseUrl } from '../../homeserver/database/test-database.ts'
import { silentLogger } from '../../homeserver/platform/log.ts'
import { checkLog } from './checker.ts'
import { measureRates } from './rates.ts'

/**
 * The full form of the check, on a Postgres of its own with fsync on:
 *     node conformance-tests/log-checker/run.mjs --writes 1000000 [--redis] [--server URL]
 *     node conformance-tests/log-checker/run.mjs --rates
 */
const { values } = parseArgs({
  options: {
    writes: { type: 'string', default: '1000000' },
    'stop-seconds': { type: 'string', default: '30' },
    rounds: { type: 'string', default: '1' },
    window: { type: 'string', default: '384' },
    rooms: { type: 'string', default: '64' },
    redis: { type: 'boolean', default: false },
    rates: { type: 'boolean', default: false },
    /** A Postgres server to use instead of a new one; the database `log_check` is made anew in it. */
    server: { type: 'string' },
  },
})

const dataDir = mkdtempSync(join(tmpdir(), 'folkmoot-log-checker-'))
try {
  await using postgres =
    values.server === undefined
      ? await startEmbeddedPostgres({ dataDir, log: silentLogger })
      : undefined
  const url = await makeDatabase(values.server ?? postgres?.url ?? '')
  if (values.rates) await measureRates(url)
  else await runCheck(url)
} finally {
  rmSync(dataDir, { recursive: true, force: true })
}

async function runCheck(url: string): Promise<void> {
  const redis = values.redis ? await startRedis() : undefined
  try {
    const result = await checkLog({
      databaseUrl: url,
      ...(redis === undefined ? {} : { redis }),
      writes: Number(values.writes),
      faults: {
        pauseMs: 5_000,
        workerStopMs: Number(values['stop-seconds']) * 1_000,
        busStopMs: 10_000,
        killBackendsEveryMs: 1_000,
        loseAnswerEveryMs: 1_000,
        rounds: Number(values.rounds),
      },
      client: {
        rooms: Number(values.rooms),
        window: Number(values.window),
        chunk: 32,
        retryMs: 2_500,
      },
      note: (line) => console.log(`${new Date().toISOString()} ${line}`),
    })
    const { wrong, stalls, ...figures } = result
    for (const { room, ms, endedAt } of stalls.toSorted((a, b) => b.ms - a.ms).slice(0, 20)) {
      console.log(`${endedAt} room ${room} had stood still for ${ms} ms`)
    }
    for (const what of wrong.slice(0, 50)) console.log(`wrong: ${what}`)
    console.log(JSON.stringify(figures, undefined, 2))
    console.log(
      result.wrong.length === 0
        ? 'the log keeps its word'
        : `${result.wrong.length} things are wrong`,
    )
    process.exitCode = result.wrong.length === 0 ? 0 : 1
  } finally {
    redis?.child.kill('SIGKILL')
  }
}

async function makeDatabase(server: string): Promise<string> {
  await using admin = createDatabase({ url: server, connections: 1 })
  await admin.query('drop database if exists log_check with (force)', [])
  await admin.query('create database log_check', [])
  const url = databaseUrl(server, 'log_check')
  await migrate(url, silentLogger)
  return url
}

/** Needs redis-server on the path. */
async function startRedis(): Promise<{ url: string; child: ChildProcess }> {
  const port = await freePort()
  const child = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', ''],
    {
      stdio: 'ignore',
    },
  )
  await new Promise((resolve, reject) => {
    child.once('error', reject)
    setTimeout(resolve, 1_000)
  })
  return { url: `redis://127.0.0.1:${port}`, child }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}
