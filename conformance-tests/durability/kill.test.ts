/** A server that is killed in the middle of its work and started again: what was answered is there, once. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, eventually, inSection, register, unique } from '../harness/client.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest } from '../harness/settings.ts'

const senders = 8
const rounds = 3
const sendForMs = 2_000
const testTimeoutMs = 180_000

let federation: Federation | undefined
beforeAll(async () => {
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: launcherUnderTest },
  ])
})
afterAll(() => federation?.[Symbol.asyncDispose]())

function servers() {
  const [home, away] = federation?.servers ?? []
  if (!home || !away) throw new Error('two servers')
  return { home, away }
}

/** All event ids of the room, newest first, as this client pages through them. */
async function history(client: Client, room: string): Promise<string[]> {
  const ids: string[] = []
  let from: string | undefined
  for (;;) {
    const page = await client.messages(room, { limit: 100, from })
    ids.push(...page.chunk.map(({ event_id }) => event_id))
    if (page.end === undefined || page.chunk.length === 0) return ids
    from = page.end
  }
}

interface Sent {
  readonly client: Client
  readonly txn: string
  readonly text: string
  answered?: string
}

/** Sends without pause until the server is gone; notes what was asked and what was answered. */
async function sendUntilKilled(client: Client, room: string, log: Sent[]): Promise<void> {
  for (;;) {
    const one: Sent = { client, txn: unique('t'), text: unique('text') }
    log.push(one)
    try {
      one.answered = await client.sendText(room, one.text, one.txn)
    } catch {
      return
    }
  }
}

describe('after kill -9 in the middle of sending', () => {
  it(
    'every answered event is there once, and a repeated request has no second effect',
    async () => {
      const { home } = servers()
      const clients = await Promise.all(
        Array.from({ length: senders }, () => register(home, 'sender')),
      )
      const [owner] = clients
      if (!owner) throw new Error('no sender')
      const room = await owner.createRoom({ preset: 'public_chat' })
      for (const client of clients.slice(1)) await client.join(room)
      const log: Sent[] = []
      for (let round = 0; round < rounds; round++) {
        const sending = clients.map((client) => sendUntilKilled(client, room, log))
        await new Promise((resolve) => setTimeout(resolve, sendForMs))
        await home.kill()
        await Promise.all(sending)
        await home.start()
      }
      const answered = log.flatMap((one) => one.answered ?? [])
      expect(answered.length).toBeGreaterThan(rounds * senders)
      const there = await history(owner, room)
      expect(new Set(there).size).toBe(there.length)
      expect(answered.filter((id) => !there.includes(id))).toEqual([])
      // Whoever was not answered asks again with the same transaction id, as clients do.
      for (const one of log.filter((each) => each.answered === undefined)) {
        one.answered = await one.client.sendText(room, one.text, one.txn)
      }
      const bodies: unknown[] = []
      let from: string | undefined
      for (;;) {
        const page = await owner.messages(room, { limit: 100, from })
        bodies.push(
          ...page.chunk.map(({ content }) => content['body']).filter((body) => body !== undefined),
        )
        if (page.end === undefined || page.chunk.length === 0) break
        from = page.end
      }
      expect(new Set(bodies).size).toBe(bodies.length)
      expect(new Set(bodies)).toEqual(new Set(log.map(({ text }) => text)))
    },
    testTimeoutMs,
  )

  it(
    'federation goes on: what was answered arrives at the other server',
    async () => {
      const { home, away } = servers()
      const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
      const room = await alice.createRoom({ preset: 'public_chat' })
      await bob.join(room, [home.name])
      await bob.syncUntil(inSection('join', room))
      const log: Sent[] = []
      const sending = sendUntilKilled(alice, room, log)
      await new Promise((resolve) => setTimeout(resolve, sendForMs))
      await home.kill()
      await sending
      await home.start()
      log.push({
        client: alice,
        txn: '',
        text: 'after',
        answered: await alice.sendText(room, 'after'),
      })
      const answered = log.flatMap((one) => one.answered ?? [])
      await eventually(
        () => history(bob, room),
        (ids) => answered.every((id) => ids.includes(id)),
      )
    },
    testTimeoutMs,
  )

  it(
    'tokens, rooms and account data are as they were',
    async () => {
      const { home } = servers()
      const alice = await register(home, 'alice')
      const room = await alice.createRoom({ name: 'kept' })
      await alice.call('PUT', alice.dataPath('org.example.kept'), { body: { kept: true } })
      const { next_batch: since } = await alice.sync()
      await home.kill()
      await home.start()
      expect(await alice.getState(room, 'm.room.name')).toEqual({ name: 'kept' })
      expect(await alice.call('GET', alice.dataPath('org.example.kept'))).toEqual({ kept: true })
      const id = await alice.sendText(room, 'the old token works')
      const answer = await alice.sync({ since })
      expect(answer.rooms.join[room]?.timeline.events.map(({ event_id }) => event_id)).toEqual([id])
    },
    testTimeoutMs,
  )
})
