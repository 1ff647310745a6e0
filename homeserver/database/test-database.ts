import { randomBytes } from 'node:crypto'
import { createDatabase, type Database } from './database.ts'

/** An own database for one test file, with every migration applied; dropped when disposed. */
export interface TestDatabase extends AsyncDisposable {
  readonly db: Database
  readonly url: string
}

/** Name of the variable in which the test run's global set-up leaves the address of the template database. */
export const templateUrlVariable = 'TEST_TEMPLATE_URL'

/**
 * Copies the template database of this test run.
 *
 *     await using test = await testDatabase()          // or dispose of it in afterAll
 */
export async function testDatabase(
  settings: { connections?: number; statementMs?: number } = {},
): Promise<TestDatabase> {
  const templateUrl = process.env[templateUrlVariable]
  if (templateUrl === undefined) throw new Error('run this test by vitest with its global set-up')
  const template = new URL(templateUrl).pathname.slice(1)
  const name = `test_${randomBytes(6).toString('hex')}`
  await administer(templateUrl, `create database ${name} template ${template}`)
  const url = databaseUrl(templateUrl, name)
  const db = createDatabase({ url, applicationName: 'test', connections: 8, ...settings })
  return {
    db,
    url,
    [Symbol.asyncDispose]: async () => {
      await db[Symbol.asyncDispose]()
      await administer(templateUrl, `drop database if exists ${name} with (force)`)
    },
  }
}

/** The same server's address with another database. */
export function databaseUrl(url: string, database: string): string {
  const out = new URL(url)
  out.pathname = `/${database}`
  return out.href
}

/** Several files copy the template at the same time: Postgres makes them wait for each other, long at times. */
async function administer(templateUrl: string, statement: string): Promise<void> {
  const admin = createDatabase({
    url: databaseUrl(templateUrl, 'postgres'),
    connections: 1,
    statementMs: 120_000,
  })
  try {
    await admin.query(statement, [])
  } finally {
    await admin[Symbol.asyncDispose]()
  }
}
