/**
 * Several servers in one process, over databases of their own, on virtual time and a network that delays, loses,
 * repeats, reorders and cuts. As many seeds as fit into a while; `FOLKMOOT_SEEDS=10000` plays that many, and
 * `FOLKMOOT_FIRST_SEED` says which is the first.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../homeserver/database/test-database.ts'
import { healMaxMs, type Outcome, play } from './test-world.ts'

const { FOLKMOOT_SEEDS: seeds, FOLKMOOT_FIRST_SEED: firstSeed = '1' } = process.env
const first = Number(firstSeed)
/** Without a wish: so many, if they can be played within the time; and so many in any case. */
const countMax = 200
const countMin = 10
const playMs = 40_000
const count = seeds === undefined ? countMax : Number(seeds)
/** Simulations at a time, and servers of one. */
const lanes = 3
const serversMax = 4
/** Seeds that fail until no more are played. */
const failuresMax = 5
/** On a machine that is busy with much else. */
const seedTimeoutMs = 15_000

const databases: TestDatabase[] = []
beforeAll(async () => {
  for (let made = 0; made < lanes * serversMax; made++) {
    databases.push(await testDatabase({ connections: 3 }))
  }
})
afterAll(async () => {
  for (const database of databases) await database[Symbol.asyncDispose]()
})

async function playLane(lane: number, next: () => number | undefined, outcomes: Outcome[]) {
  const own = databases.slice(lane * serversMax, (lane + 1) * serversMax).map(({ db }) => db)
  for (let seed = next(); seed !== undefined; seed = next()) outcomes.push(await play(seed, own))
}

describe('servers between which the network is cut, slow and forgetful', () => {
  it(
    'agree on the room and have lost and doubled nothing, whatever the seed',
    async () => {
      const outcomes: Outcome[] = []
      const failed = () => outcomes.filter(({ wrong }) => wrong.length > 0)
      const end = performance.now() + playMs
      let played = 0
      const next = () => {
        const isLate = seeds === undefined && played >= countMin && performance.now() > end
        if (played >= count || isLate || failed().length >= failuresMax) return undefined
        return first + played++
      }
      await Promise.all(Array.from({ length: lanes }, (_, lane) => playLane(lane, next, outcomes)))
      const slowest = Math.max(...outcomes.map(({ healedMs }) => healedMs))
      process.stderr.write(
        `simulation: seeds ${first} to ${first + played - 1}; ` +
          `all agreed at the latest ${slowest / 1000} s after healing\n`,
      )
      expect(failed()).toEqual([])
      expect(slowest).toBeLessThanOrEqual(healMaxMs)
    },
    60_000 + count * seedTimeoutMs,
  )
})
