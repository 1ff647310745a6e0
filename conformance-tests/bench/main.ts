/**
 * The benchmark: in each round every server is started once on a fresh database of one private Postgres, does the same
 * work and is stopped, so that the machine's noise is shared. A wrong answer makes a figure fail, never fast.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { startPostgres } from '../harness/postgres.ts'
import { launchers } from '../harness/settings.ts'
import { bareLimits } from './limits.ts'
import type { Measurement } from './measure.ts'
import { runRound } from './round.ts'
import { scenarioNames } from './scenarios.ts'
import { renderTable } from './table.ts'

const help = `npm run bench -- [options]
  --servers LIST   names of launchers here (folkmoot, synapse) or NAME=PATH, by commas; the last is the reference
  --rounds N       how often each server is started (2)
  --samples N      requests of a measurement (1000)
  --seconds N      no measurement takes longer (90); one that ends early says how many samples it has
  --only LIST      only these scenarios: ${scenarioNames.join(', ')}
  --no-bare        leave out the bare limits of Postgres and Node
  --out FILE       also write the results as JSON
`

/** Parses the arguments, runs the rounds and prints the table. */
export async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      servers: { type: 'string', default: 'folkmoot,synapse' },
      rounds: { type: 'string', default: '2' },
      samples: { type: 'string', default: '1000' },
      seconds: { type: 'string', default: '90' },
      only: { type: 'string' },
      'no-bare': { type: 'boolean', default: false },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return
  }
  const servers = values.servers.split(',').map(parseServer)
  const limits = { samples: positive(values.samples), timeMs: positive(values.seconds) * 1_000 }
  const only = values.only?.split(',')
  const unknown = only?.filter((name) => !scenarioNames.includes(name)) ?? []
  if (unknown.length > 0) throw new Error(`no scenario is called ${unknown.join(', ')}`)

  const dir = mkdtempSync(join(tmpdir(), 'bench-'))
  const postgres = await startPostgres(dir)
  const results: Measurement[] = []
  const say = (text: string) => process.stderr.write(`${text}\n`)
  try {
    if (!values['no-bare']) results.push(...(await bareLimits(postgres, limits)))
    for (let round = 1; round <= positive(values.rounds); round++) {
      for (const { name, launcher } of servers) {
        say(`round ${round}: ${name} (load ${loadavg()[0]?.toFixed(1)})`)
        const options = {
          name,
          launcher,
          dir: join(dir, `${name}-${round}`),
          postgres,
          limits,
          say,
        }
        results.push(...(await runRound({ ...options, ...(only === undefined ? {} : { only }) })))
        if (values.out !== undefined) writeResults(values.out, results)
      }
    }
  } finally {
    await postgres.stop()
    rmSync(dir, { recursive: true, force: true })
  }
  const machine = `${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${postgres.version}`
  const names = servers.map(({ name }) => name)
  process.stdout.write(`${machine}; load after the run ${loadavg()[0]?.toFixed(1)}\n\n`)
  process.stdout.write(renderTable(results, names))
}

function parseServer(text: string): { name: string; launcher: string } {
  const [name = '', path] = text.split('=')
  const known: Record<string, string> = launchers
  const launcher = path === undefined ? known[name] : resolve(path)
  if (launcher === undefined || !existsSync(launcher))
    throw new Error(`there is no launcher for ${text}`)
  return { name, launcher }
}

function positive(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`${text} is no positive whole number`)
  return value
}

function writeResults(file: string, results: readonly Measurement[]): void {
  writeFileSync(file, `${JSON.stringify({ at: new Date().toISOString(), results }, null, 1)}\n`)
}
