/** Several processes of one instance: any of them answers any request. Synapse's launcher has one process only. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, clientOf, inTimeline, register, unique } from '../harness/client.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { type PrivatePostgres, startPostgres } from '../harness/postgres.ts'
import { findRedis, startRedis } from '../harness/redis.ts'
import type { LaunchedServer } from '../harness/server.ts'
import { launchers, launcherUnderTest } from '../harness/settings.ts'

const oneProcessOnly = launcherUnderTest === launchers.synapse
const redis = findRedis()
const takeOverMs = 5_000
const testTimeoutMs = 120_000
if (redis === undefined)
  process.stderr.write('NOT RUN: two processes with Redis, because there is no redis-server\n')

describe.skipIf(oneProcessOnly).each([
  ['without Redis', false],
  ['with Redis', true],
] as const)(
  'two processes on one database, %s,',
  (_, withRedis) => {
    const skipped = withRedis && redis === undefined
    let dir: string | undefined
    let postgres: PrivatePostgres | undefined
    let bus: Awaited<ReturnType<typeof startRedis>> | undefined
    let federation: Federation | undefined
    let processes: readonly LaunchedServer[] = []

    beforeAll(async () => {
      if (skipped) return
      dir = mkdtempSync(join(tmpdir(), 'processes-'))
      postgres = await startPostgres(dir)
      if (withRedis && redis !== undefined) bus = await startRedis(redis)
      const env = {
        HS_DB: await postgres.createDatabase('shared'),
        ...(bus ? { HS_REDIS: bus.url } : {}),
      }
      federation = await startFederation([{ launcher: launcherUnderTest, env }])
      const [first] = federation.servers
      if (!first) throw new Error('no server')
      const dataDir = join(first.dir, 'data')
      const second = await federation.launch({
        launcher: launcherUnderTest,
        env,
        name: first.name,
        dataDir,
      })
      processes = [first, second]
    })
    afterAll(async () => {
      await federation?.[Symbol.asyncDispose]()
      await bus?.[Symbol.asyncDispose]()
      await postgres?.stop()
      if (dir !== undefined) rmSync(dir, { recursive: true, force: true })
    })

    /** The same session at both processes. */
    async function user(name: string): Promise<[Client, Client]> {
      const [first, second] = processes
      if (!first || !second) throw new Error('two processes')
      const client = await register(first, name)
      return [client, clientOf(second, client.session)]
    }

    it.skipIf(skipped)('any answers any request, at once', async () => {
      const [here, there] = await user('alice')
      const room = await here.createRoom({ name: 'from the first' })
      expect(await there.getState(room, 'm.room.name')).toEqual({ name: 'from the first' })
      const id = await there.sendText(room, 'from the second')
      expect((await here.event(room, id)).content['body']).toBe('from the second')
      await there.call('PUT', there.dataPath('org.example.x'), { body: { a: 1 } })
      expect(await here.call('GET', here.dataPath('org.example.x'))).toEqual({ a: 1 })
    })

    it.skipIf(skipped)('a sync waiting at one is woken by a write at the other', async () => {
      const [here, there] = await user('alice')
      const room = await here.createRoom()
      for (let i = 0; i < 10; i++) {
        const { next_batch: since } = await there.sync()
        const waiting = there.syncUntil(
          inTimeline(room, () => true),
          { since, timeoutMs: 10_000 },
        )
        await new Promise((resolve) => setTimeout(resolve, 30))
        const startedAt = performance.now()
        await here.sendText(room, `wake ${i}`)
        await waiting
        expect(performance.now() - startedAt).toBeLessThan(1_000)
      }
    })

    it.skipIf(skipped)(
      'a sync at one with a token of the other misses nothing and repeats nothing',
      async () => {
        const [here, there] = await user('alice')
        const room = await here.createRoom()
        let since = (await here.sync()).next_batch
        const seen: string[] = []
        const sent: string[] = []
        for (let i = 0; i < 30; i++) {
          sent.push(await (i % 2 ? here : there).sendText(room, `${i}`))
          const answer = await (i % 3 ? here : there).sync({ since })
          seen.push(
            ...(answer.rooms.join[room]?.timeline.events ?? []).map(({ event_id }) => event_id),
          )
          since = answer.next_batch
        }
        expect(seen).toEqual(sent)
      },
    )

    it.skipIf(skipped)(
      'a token that ended at one is refused by the other within a second',
      async () => {
        const [here, there] = await user('alice')
        await there.call('GET', '/_matrix/client/v3/account/whoami')
        await here.call('POST', '/_matrix/client/v3/logout', { body: {} })
        await new Promise((resolve) => setTimeout(resolve, 1_000))
        expect((await there.ask('GET', '/_matrix/client/v3/account/whoami')).status).toBe(401)
      },
    )

    it.skipIf(skipped)('a transaction id counts at both', async () => {
      const [here, there] = await user('alice')
      const room = await here.createRoom()
      const txn = unique('t')
      const ids = await Promise.all(
        [here, there, here, there].map((client) => client.sendText(room, 'once', txn)),
      )
      expect(new Set(ids).size).toBe(1)
    })

    it.skipIf(skipped)(
      'many send into one room through both, and both show one order',
      async () => {
        const [here, there] = await user('alice')
        const room = await here.createRoom()
        const send = async (client: Client, name: string) => {
          for (let i = 0; i < 100; i++) await client.sendText(room, `${name} ${i}`)
        }
        await Promise.all([send(here, 'a'), send(there, 'b'), send(here, 'c'), send(there, 'd')])
        const order = async (client: Client) =>
          (await client.messages(room, { limit: 400 })).chunk
            .map(({ content }) => String(content['body']))
            .toReversed()
        const first = await order(here)
        expect(await order(there)).toEqual(first)
        for (const name of ['a', 'b', 'c', 'd']) {
          const own = first.filter((text) => text.startsWith(`${name} `))
          expect(own).toEqual(Array.from({ length: 100 }, (__, i) => `${name} ${i}`))
        }
      },
    )

    it.skipIf(skipped)('when one dies, the other takes over its rooms within 5 s', async () => {
      const [first] = processes
      const rooms: { client: Client; room: string }[] = []
      for (let i = 0; i < 8; i++) {
        const [here, there] = await user('alice')
        rooms.push({ client: there, room: await here.createRoom() })
      }
      await first?.kill()
      const startedAt = performance.now()
      await Promise.all(
        rooms.map(async ({ client, room }) => {
          const txn = unique('t')
          for (;;) {
            const where = client.room(room, 'send', 'm.room.message', txn)
            const answer = await client
              .ask('PUT', where, { body: { body: 'still here' }, timeoutMs: takeOverMs })
              .catch(() => undefined)
            if (answer?.status === 200) return
            if (performance.now() - startedAt > 2 * takeOverMs)
              throw new Error(`no answer: ${answer?.text}`)
            await new Promise((resolve) => setTimeout(resolve, 100))
          }
        }),
      )
      expect(performance.now() - startedAt).toBeLessThan(takeOverMs)
      await first?.start()
    })
  },
  testTimeoutMs,
)

describe.skipIf(oneProcessOnly)('one start with two workers', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    federation = await startFederation([{ launcher: launcherUnderTest, env: { HS_WORKERS: '2' } }])
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it(
    'serves users, rooms and syncs as one',
    async () => {
      const [server] = federation?.servers ?? []
      if (!server) throw new Error('no server')
      const clients = await Promise.all(Array.from({ length: 8 }, () => register(server, 'user')))
      const [owner] = clients
      if (!owner) throw new Error('no user')
      const room = await owner.createRoom({ preset: 'public_chat' })
      for (const client of clients.slice(1)) await client.join(room)
      await Promise.all(
        clients.map(async (client, index) => {
          for (let i = 0; i < 20; i++) await client.sendText(room, `${index} ${i}`)
        }),
      )
      for (const client of clients) {
        const { chunk } = await client.messages(room, { limit: 160 })
        expect(chunk.filter(({ type }) => type === 'm.room.message')).toHaveLength(160)
      }
    },
    testTimeoutMs,
  )
})
