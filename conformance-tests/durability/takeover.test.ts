/** Several processes under many callers, and one of them killed: the others go on, and nothing answered is lost. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, clientOf, inTimeline, register, unique } from '../harness/client.ts'
import { type Instance, instances, type TwoStarts, twoStarts } from '../harness/instance.ts'
import { launchers, launcherUnderTest } from '../harness/settings.ts'

const oneProcessOnly = launcherUnderTest === launchers.synapse
const burst = 200
const senders = 8
const roomsCount = 6
const killAfterMs = 1_000
const sendForMs = 7_000
const takeOverMs = 5_000
/** What the slowest of many callers may need besides, on a machine that also runs all of them. */
const slackMs = 3_000
const retryMs = 50
const wakeMs = 200
const pauseMs = 8_000
/** A process that stops gives its rooms away: nobody waits for its lease to end. */
const handOverMs = 2_000
const testTimeoutMs = 120_000

interface Sent {
  readonly room: string
  readonly text: string
  readonly id: string
  readonly tookMs: number
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Sends one message and repeats it, at the other door each time, until it is answered. */
async function insist(doors: readonly Client[], room: string, text: string): Promise<Sent> {
  const txn = unique('t')
  const startedAt = performance.now()
  for (let tries = 0; ; tries++) {
    const client = doors[tries % doors.length]
    if (!client) throw new Error('no door')
    const tookMs = () => performance.now() - startedAt
    try {
      const where = client.room(room, 'send', 'm.room.message', txn)
      const body = { msgtype: 'm.text', body: text }
      const { status, body: answer } = await client.ask('PUT', where, {
        body,
        timeoutMs: takeOverMs,
      })
      const id = answer['event_id']
      if (status === 200 && typeof id === 'string') return { room, text, id, tookMs: tookMs() }
      // A refusal is no answer to somebody who was in the room all the time.
      if (status < 429) throw new Error(`${status} ${JSON.stringify(answer)}`, { cause: 'refused' })
    } catch (error) {
      if (error instanceof Error && error.cause === 'refused') throw error
      if (tookMs() > 3 * takeOverMs) throw new Error('nobody answers', { cause: error })
    }
    await wait(retryMs)
  }
}

/** Ids and texts of a room's messages, oldest first. */
async function messagesOf(client: Client, room: string): Promise<{ id: string; text: unknown }[]> {
  const found: { id: string; text: unknown }[] = []
  let from: string | undefined
  for (;;) {
    const page = await client.messages(room, { limit: 100, from })
    for (const { event_id: id, type, content } of page.chunk)
      if (type === 'm.room.message') found.push({ id, text: content['body'] })
    if (page.end === undefined || page.chunk.length === 0) return found.reverse()
    from = page.end
  }
}

for (const { name, start, ...needs } of instances) {
  const lacks = 'lacks' in needs ? needs.lacks : undefined
  if (lacks !== undefined) process.stderr.write(`NOT RUN: ${name}, because ${lacks}\n`)

  describe.skipIf(oneProcessOnly || lacks !== undefined)(name, () => {
    let instance: Instance | undefined
    beforeAll(async () => {
      instance = await start()
    }, testTimeoutMs)
    afterAll(() => instance?.[Symbol.asyncDispose](), testTimeoutMs)

    function started(): Instance {
      if (!instance) throw new Error('no instance')
      return instance
    }

    /** The same session at both doors. */
    async function user(): Promise<[Client, Client]> {
      const [first, second] = started().doors
      const client = await register(first, 'alice')
      return [client, clientOf(second, client.session)]
    }

    it(`show a write at the other one within ${wakeMs} ms`, {
      timeout: testTimeoutMs,
    }, async () => {
      const [here, there] = await user()
      const room = await here.createRoom()
      const times: number[] = []
      for (let n = 0; n < 15; n++) {
        const { next_batch: since } = await there.sync()
        const waiting = there.syncUntil(
          inTimeline(room, ({ content }) => content['body'] === `${n}`),
          { since, timeoutMs: 10_000 },
        )
        const id = here.sendText(room, `${n}`)
        await id
        const answeredAt = performance.now()
        await waiting
        times.push(performance.now() - answeredAt)
      }
      // The median: whatever else the machine does, it does not do it all the time.
      expect(times.toSorted((a, b) => a - b)[7]).toBeLessThan(wakeMs)
    })

    it(`take ${burst} sends at once in one order`, { timeout: testTimeoutMs }, async () => {
      const doors = await user()
      const [here, there] = doors
      const room = await here.createRoom()
      const sent = await Promise.all(
        Array.from({ length: burst }, (_, n) =>
          insist(n % 2 ? doors : [there, here], room, `${n}`),
        ),
      )
      const order = await messagesOf(here, room)
      expect(await messagesOf(there, room)).toEqual(order)
      expect(order).toHaveLength(burst)
      expect(new Set(order.map(({ id }) => id))).toEqual(new Set(sent.map(({ id }) => id)))
    })

    it('lose nothing that was answered when one is killed, and go on', {
      timeout: testTimeoutMs,
    }, async () => {
      const doors = await user()
      const [here, there] = doors
      const rooms: string[] = []
      for (let n = 0; n < roomsCount; n++) rooms.push(await here.createRoom())
      const until = performance.now() + sendForMs
      const sending = Array.from({ length: senders }, async (_, sender) => {
        const mine: Sent[] = []
        for (let n = 0; performance.now() < until; n++) {
          const room = rooms[(sender + n) % roomsCount] ?? ''
          mine.push(await insist(sender % 2 ? doors : [there, here], room, `${sender} ${n}`))
        }
        return mine
      })
      await wait(killAfterMs)
      await started().killOne()
      const sent = (await Promise.all(sending)).flat()
      expect(Math.max(...sent.map(({ tookMs }) => tookMs))).toBeLessThan(takeOverMs + slackMs)
      await started().restore()
      for (const room of rooms) {
        const asked = sent.filter((one) => one.room === room)
        const order = await messagesOf(there, room)
        expect(await messagesOf(here, room)).toEqual(order)
        expect(order.map(({ text }) => text).toSorted()).toEqual(
          asked.map(({ text }) => text).toSorted(),
        )
        expect(new Set(order.map(({ id }) => id))).toEqual(new Set(asked.map(({ id }) => id)))
      }
    })
  })
}

describe.skipIf(oneProcessOnly)('when one of two processes', () => {
  let instance: TwoStarts | undefined
  beforeAll(async () => {
    instance = await twoStarts({ withRedis: false })
  }, testTimeoutMs)
  afterAll(() => instance?.[Symbol.asyncDispose](), testTimeoutMs)

  /** Sends through the second process while `act` does something to the first. */
  async function sendThroughSecond(act: (started: TwoStarts) => Promise<void>) {
    if (!instance) throw new Error('no instance')
    const [first, second] = instance.doors
    const here = await register(first, 'alice')
    const there = clientOf(second, here.session)
    const rooms: string[] = []
    for (let n = 0; n < roomsCount; n++) rooms.push(await here.createRoom())
    let going = true
    const sending = rooms.map(async (room) => {
      const mine: Sent[] = []
      for (let n = 0; going; n++) mine.push(await insist([there], room, `${n}`))
      return mine
    })
    await wait(killAfterMs)
    await act(instance)
    going = false
    const sent = await Promise.all(sending)
    return {
      here,
      there,
      rooms,
      sent,
      slowestMs: Math.max(...sent.flat().map(({ tookMs }) => tookMs)),
    }
  }

  it('is paused, the other one takes over, and both agree afterwards', {
    timeout: testTimeoutMs,
  }, async () => {
    const { here, there, rooms, sent, slowestMs } = await sendThroughSecond(async (started) => {
      using _ = started.pauseFirst()
      await wait(pauseMs)
    })
    expect(slowestMs).toBeLessThan(takeOverMs + slackMs)
    for (const [n, room] of rooms.entries()) {
      await insist([here], room, 'after the pause')
      const order = await messagesOf(here, room)
      expect(await messagesOf(there, room)).toEqual(order)
      expect(order.slice(0, -1).map(({ id }) => id)).toEqual(sent[n]?.map(({ id }) => id))
    }
  })

  it('is stopped, nobody at the other one notices', { timeout: testTimeoutMs }, async () => {
    const { there, rooms, sent, slowestMs } = await sendThroughSecond(async (started) => {
      await started.stopFirst()
      await wait(killAfterMs)
    })
    expect(slowestMs).toBeLessThan(handOverMs)
    for (const [n, room] of rooms.entries()) {
      const order = await messagesOf(there, room)
      expect(order.map(({ id }) => id)).toEqual(sent[n]?.map(({ id }) => id))
    }
  })
})
