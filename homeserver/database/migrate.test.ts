import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { silentLogger } from '../platform/log.ts'
import { type Migration, migrate, missingMigrations, readMigrations } from './migrate.ts'
import { type TestDatabase, testDatabase } from './test-database.ts'

let test: TestDatabase
beforeAll(async () => {
  test = await testDatabase()
})
afterAll(() => test[Symbol.asyncDispose]())

const ours = readMigrations()

function migration(name: string, sql: string): Migration {
  return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') }
}

it('applies what is missing once, also when several processes start together', async () => {
  const more = [...ours, migration('9001-test-one.sql', 'create table m_one (a int); select 1;')]
  const results = await Promise.all([1, 2, 3].map(() => migrate(test.url, silentLogger, more)))
  expect(results.flat()).toEqual(['9001-test-one.sql'])
  expect(await missingMigrations(test.db, more)).toEqual([])
})

it('leaves nothing of a migration that fails', async () => {
  const [one] = [migration('9001-test-one.sql', 'create table m_one (a int); select 1;')]
  const bad = migration('9002-test-bad.sql', 'create table m_two (a int); select nonsense;')
  const more = [...ours, ...(one ? [one] : []), bad]
  await expect(migrate(test.url, silentLogger, more)).rejects.toThrow(
    /9002-test-bad\.sql.*nonsense/,
  )
  expect(await test.db`select to_regclass('m_two') as found`).toEqual([{ found: null }])
  expect(await missingMigrations(test.db, more)).toEqual(['9002-test-bad.sql'])
})

it('refuses a migration that was changed, and a database that is newer', async () => {
  const changed = [...ours, migration('9001-test-one.sql', 'create table m_other (a int);')]
  await expect(migrate(test.url, silentLogger, changed)).rejects.toThrow(
    /9001-test-one\.sql was changed/,
  )
  await expect(migrate(test.url, silentLogger, ours)).rejects.toThrow(/start a newer version/)
})

it('finds every migration with a proper name and its owner in the first line', () => {
  expect(ours.length).toBeGreaterThan(0)
  for (const { name, sql } of ours) {
    expect(sql.split('\n')[0], name).toMatch(/^-- owner: [a-z-]+$/)
  }
})
