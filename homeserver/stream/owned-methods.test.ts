import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { systemClock } from '../platform/clock.ts'
import { silentLogger } from '../platform/log.ts'
import { createOwnedMethods } from './owned-methods.ts'
import { createPeers, type RunningPeers } from './peers.ts'
import { testStream } from './test-stream.ts'

const needs = { clock: systemClock, log: silentLogger, secret: 'test', host: '127.0.0.1', port: 0 }
let database: TestDatabase
let stream: ReturnType<typeof testStream>
let asker: RunningPeers
let owner: RunningPeers

beforeAll(async () => {
  database = await testDatabase()
  stream = testStream(database.db)
  await stream.start()
  ;[asker, owner] = await Promise.all([createPeers(needs), createPeers(needs)])
})
afterAll(async () => {
  await asker[Symbol.asyncDispose]()
  await owner[Symbol.asyncDispose]()
  await stream[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

/** Processes as one of them sees them; `change` says that the owner is gone. */
function view(at: string | undefined, holdsLease = true) {
  let others = at === undefined ? [] : [{ id: 'owner', address: at }]
  const listeners = new Set<() => void>()
  return {
    holdsLease,
    ownerOf: () => others[0],
    others: () => others,
    onChange(listener: () => void) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    ownerIsGone() {
      others = []
      for (const listener of [...listeners]) listener()
    },
  }
}

const schemas = { args: z.object({ n: z.number() }), result: z.number() }

it('does nothing that was asked before a pause, and lets another process do it', async () => {
  const paused = view(undefined, false)
  const asking = view(owner.address)
  const ran: string[] = []
  const at = (peers: RunningPeers, processes: ReturnType<typeof view>, who: string) =>
    createOwnedMethods({ processes, peers, tail: stream.tail, clock: systemClock }).add({
      ...schemas,
      name: 'double',
      run: async ({ n }, repeated) => {
        ran.push(`${who}${repeated ? ' again' : ''}`)
        return 2 * n
      },
    })
  at(owner, paused, 'owner')
  const double = at(asker, asking, 'asker')
  const answer = double('key', { n: 21 })
  asking.ownerIsGone()
  expect(await answer).toBe(42)
  expect(ran).toEqual(['asker again'])
})
