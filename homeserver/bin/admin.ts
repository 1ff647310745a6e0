import process from 'node:process'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { parseArgs } from 'node:util'
import { MatrixError } from '../../spec/errors.ts'
import { type Config, ConfigError, loadConfig } from '../config.ts'
import { createDatabase } from '../database/database.ts'
import { findEmbeddedPostgres } from '../database/embedded-postgres.ts'
import { createLogger } from '../platform/log.ts'
import { createMetrics } from '../platform/metrics.ts'
import type { Assembled } from './assemble.ts'
import { prepare } from './prepare.ts'
import { build } from './serve.ts'

const usage = `npm run admin -- create-user NAME [--admin] [--password-stdin]
    makes an account; asks for the password, or reads it from standard input
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
  const [command, name] = positionals
  if (values.help) return console.log(usage)
  const { config } = loadConfig(process.env)
  if (command === 'create-user' && name !== undefined) {
    const password = await readPassword(values['password-stdin'])
    await withHouse(config, async ({ accounts }) => {
      const user = await accounts.register({ localpart: name, password, admin: values.admin })
      console.log(`${user} was made${values.admin ? ' and is an administrator' : ''}`)
    })
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
