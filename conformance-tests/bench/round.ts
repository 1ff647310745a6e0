/** One start of one server with all its scenarios; the books of CPU and memory are kept here. */
import { writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Authority, createAuthority } from '../harness/certificates.ts'
import type { PrivatePostgres } from '../harness/postgres.ts'
import { type LaunchedServer, launch } from '../harness/server.ts'
import { createLoadClient } from './http-client.ts'
import { type Limits, type Load, type Measurement, percentile } from './measure.ts'
import { readTree, watchMemory } from './proc.ts'
import { scenarios } from './scenarios.ts'

export interface RoundOptions {
  readonly name: string
  readonly launcher: string
  readonly dir: string
  readonly postgres: PrivatePostgres
  readonly limits: Limits
  readonly only?: readonly string[]
  say(text: string): void
}

/** What a scenario works with. */
export interface Bench {
  readonly limits: Limits
  readonly server: LaunchedServer
  readonly client: ReturnType<typeof createLoadClient>
  /** Whose certificates the server trusts. */
  readonly authority: Authority
  /** Starts a second instance for federation. */
  second(): Promise<LaunchedServer>
  /** Runs a load and notes its rate, latencies and cost under this name. */
  load(name: string, run: () => Promise<Load>): Promise<void>
  note(name: string, value: number, unit: string, better: Measurement['better']): void
}

/** Starts the server, runs the scenarios, and starts it once more on its data. */
export async function runRound(options: RoundOptions): Promise<Measurement[]> {
  const { name, postgres, limits, say } = options
  const results: Measurement[] = []
  const put = (one: Omit<Measurement, 'server'>) => results.push({ server: name, ...one })
  const authority = createAuthority()
  const start = await starter(options, authority)
  const server = await start()
  const started = [server]
  const client = createLoadClient(server.clientUrl)
  const memory = watchMemory(() => server.pid())

  const cpu = () => ({
    server: started.reduce((sum, one) => sum + readTree(one.pid()).cpuSeconds, 0),
    postgres: readTree(postgres.pid).cpuSeconds,
  })
  const bench: Bench = {
    limits,
    server,
    client,
    authority,
    async second() {
      const other = await start()
      started.push(other)
      return other
    },
    async load(what, run) {
      const before = cpu()
      const { latenciesMs, wallMs } = await run()
      const after = cpu()
      const samples = latenciesMs.length
      put({
        name: `${what}, rate`,
        unit: '/s',
        better: 'higher',
        value: (samples * 1_000) / wallMs,
        samples,
      })
      put({
        name: `${what}, p50`,
        unit: 'ms',
        better: 'lower',
        value: percentile(latenciesMs, 0.5),
        samples,
      })
      put({
        name: `${what}, p99`,
        unit: 'ms',
        better: 'lower',
        value: percentile(latenciesMs, 0.99),
        samples,
      })
      const cost = (kind: 'server' | 'postgres') => ((after[kind] - before[kind]) * 1_000) / samples
      put({
        name: `${what}, CPU of the server`,
        unit: 'ms',
        better: 'lower',
        value: cost('server'),
        samples,
      })
      put({
        name: `${what}, CPU of Postgres`,
        unit: 'ms',
        better: 'lower',
        value: cost('postgres'),
        samples,
      })
      put({
        name: `${what}, CPU in all`,
        unit: 'ms',
        better: 'lower',
        value: cost('server') + cost('postgres'),
        samples,
      })
    },
    note: (what, value, unit, better) => put({ name: what, unit, better, value }),
  }

  bench.note('first start', server.startMs(), 'ms', 'lower')
  try {
    for (const scenario of scenarios) {
      if (options.only && !options.only.includes(scenario.name)) continue
      const startedAt = performance.now()
      try {
        await scenario.run(bench)
        say(`  ${scenario.name}: ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`)
      } catch (error) {
        say(`  ${scenario.name}: FAILED ${error instanceof Error ? error.message : String(error)}`)
        put({ name: scenario.name, unit: '', better: 'info', failure: String(error) })
      }
    }
    bench.note('peak memory of the server', memory.stop() / 2 ** 20, 'MiB', 'lower')
    await server.stop()
    await server.start()
    bench.note('start on existing data', server.startMs(), 'ms', 'lower')
  } finally {
    memory.stop()
    await client.close().catch(() => undefined)
    await Promise.all(started.map((one) => one.stop()))
  }
  return results
}

/** Gives every instance of this round a database, a directory and the same authority. */
async function starter(
  { name, launcher, dir, postgres }: RoundOptions,
  authority: Authority,
): Promise<() => Promise<LaunchedServer>> {
  await mkdir(dir, { recursive: true })
  const authorityFile = join(dir, 'ca.crt')
  writeFileSync(authorityFile, authority.cert)
  let count = 0
  return async () => {
    count += 1
    const database = await postgres.createDatabase(
      `${basename(dirname(dir))}-${basename(dir)}-${name}-${count}`,
    )
    const env = { HS_DB: database, SYNAPSE_LOG_LEVEL: 'WARNING' }
    return await launch({ launcher, dir: join(dir, `hs${count}`), authority, authorityFile, env })
  }
}
