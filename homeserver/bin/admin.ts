import process from 'node:process'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { parseArgs } from 'node:util'
import { MatrixError } from '../../spec/errors.ts'
import { isServerName } from '../../spec/ids.ts'
import { type Config, ConfigError, loadConfig } from '../config.ts'
import { createDatabase } from '../database/database.ts'
import { findEmbeddedPostgres } from '../database/embedded-postgres.ts'
import type { Administration } from '../destinations/administration.ts'
import { createDestinations } from '../destinations/destinations.ts'
import { systemClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { createMetrics } from '../platform/metrics.ts'
import type { Assembled } from './assemble.ts'
import { prepare } from './prepare.ts'
import { build } from './serve.ts'

const usage = `npm run admin -- create-user NAME [--admin] [--password-stdin]
    makes an account; asks for the password, or reads it from standard input
npm run admin -- destinations [reset NAME]
    lists the servers that do not answer, with what waits for them; or has one tried again at once
npm run admin -- migrate
    brings the database to this version's schema`

/** The command line works beside a running server or without one. */
async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      admin: { type: 'boolean', default: false },
      'password-stdin': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [command, name, more] = positionals
  if (values.help) return console.log(usage)
  const { config } = loadConfig(process.env)
  if (command === 'create-user' && name !== undefined) {
    const password = await readPassword(values['password-stdin'])
    await withHouse(config, async ({ accounts }) => {
      const user = await accounts.register({ localpart: name, password, admin: values.admin })
      console.log(`${user} was made${values.admin ? ' and is an administrator' : ''}`)
    })
  } else if (command === 'destinations' && name === undefined) {
    await withDestinations(config, showDestinations)
  } else if (command === 'destinations' && name === 'reset' && isServerName(more)) {
    await withDestinations(config, ({ reset }) => reset(more))
    console.log(`${more} will be tried again`)
  } else if (command === 'migrate') {
    await withDatabase(config, async () => console.log('the database is up to date'))
  } else {
    console.error(usage)
    process.exitCode = 2
  }
}

/** The database of a running server, or one that is started for the moment. */
async function withDatabase(config: Config, work: (url: string) => Promise<void>): Promise<void> {
  if (config.databaseUrl === '') {
    const running = await findEmbeddedPostgres(config.dataDir, config.postgresBinDir || undefined)
    if (running !== undefined) return await work(running)
  }
  await using prepared = await prepare(config, createLogger({ level: 'warn' }))
  await work(prepared.databaseUrl)
}

async function withDestinations(
  config: Config,
  work: (destinations: Administration) => Promise<void>,
): Promise<void> {
  await withDatabase(config, async (url) => {
    await using db = createDatabase({ url, connections: 2 })
    await using destinations = await createDestinations({
      db,
      clock: systemClock,
      log: createLogger({ level: 'warn' }),
    })
    await work(destinations.administration)
  })
}

/** Servers shown at a time; those that are away for longest come first. */
const shownMax = 200

async function showDestinations({ list, rooms, waiting }: Administration): Promise<void> {
  const { servers, total } = await list({
    ...{ contains: '', orderBy: 'failure_ts', backwards: false, isFailing: true },
    ...{ from: 0, limit: shownMax },
  })
  if (total === 0) return console.log('every server answers')
  const edus = await waiting(servers.map(({ server }) => server))
  for (const { server, failing } of servers) {
    const missed = await rooms(server, { backwards: false, from: 0, limit: 1 })
    const since = new Date(failing?.since ?? 0).toISOString()
    const next = new Date(failing?.retryAt ?? 0).toISOString()
    const waits = `${missed.total} rooms and ${edus.get(server) ?? 0} messages wait`
    console.log(`${server}  away since ${since}, tried again at ${next}; ${waits}`)
  }
  if (total > servers.length) console.log(`and ${total - servers.length} more`)
}

async function withHouse(config: Config, work: (house: Assembled) => Promise<void>): Promise<void> {
  await withDatabase(config, async (url) => {
    await using db = createDatabase({ url, connections: 4 })
    const log = createLogger({ level: 'warn' })
    // A running server may have the port.
    await using house = await build(
      { config: { ...config, internalPort: 0 }, databaseUrl: url, log },
      db,
      createMetrics(),
      new AbortController().signal,
    )
    await work(house)
  })
}

async function readPassword(fromStdin: boolean): Promise<string> {
  if (fromStdin) {
    let text = ''
    for await (const chunk of process.stdin) text += chunk
    return text.replace(/\r?\n$/, '')
  }
  if (!process.stdin.isTTY)
    throw new Error('no terminal to ask for a password: use --password-stdin')
  const first = await ask('Password: ')
  if (first !== (await ask('Again: '))) throw new Error('the two passwords differ')
  return first
}

/** Asks without showing what is typed. */
async function ask(question: string): Promise<string> {
  process.stdout.write(question)
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const reader = createInterface({ input: process.stdin, output: nowhere, terminal: true })
  try {
    return await reader.question('')
  } finally {
    reader.close()
    process.stdout.write('\n')
  }
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    const known = error instanceof MatrixError || error instanceof ConfigError
    const text = error instanceof Error ? (known ? error.message : (error.stack ?? '')) : `${error}`
    console.error(text)
    process.exit(1)
  },
)
