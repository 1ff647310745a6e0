/** Events that are sent later (MSC4140). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, eventually, inTimeline, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { ask, type Body, path } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, urlUnderTest } from '../harness/settings.ts'

const base = '/_matrix/client/unstable/org.matrix.msc4140/delayed_events'
const type = 'com.example.test'
const delayParameter = 'org.matrix.msc4140.delay'
/** Longer than any of these tests. */
const long = 600_000

const pendingAnswer = z.object({
  delayed_events: z.array(
    z.looseObject({ delay_id: z.string(), content: z.record(z.string(), z.unknown()) }),
  ),
})

async function sender(on = server): Promise<{ alice: Client; room: string }> {
  const alice = await register(on, 'alice')
  const room = await alice.createRoom({
    preset: 'public_chat',
    power_level_content_override: { events: { [type]: 0 } },
  })
  return { alice, room }
}

async function delayed(alice: Client, where: string, body: unknown, ms: number): Promise<string> {
  const answer = await alice.call('PUT', where, { body, query: { [delayParameter]: ms } })
  return z.object({ delay_id: z.string() }).parse(answer).delay_id
}

const delayedState = (alice: Client, room: string, key: string, ms: number, body: Body = {}) =>
  delayed(alice, alice.room(room, 'state', type, key), body, ms)

async function pending(alice: Client) {
  return pendingAnswer.parse(await alice.call('GET', base)).delayed_events
}

/** Anybody who knows the id may act. */
const act = (on: { readonly clientUrl: string }, id: string, action: string, body: Body = {}) =>
  ask(on.clientUrl, 'POST', path(base, id, action), { body })

const stateOf = (alice: Client, room: string, key: string) =>
  alice.ask('GET', alice.room(room, 'state', type, key))

describe('delayed events', () => {
  it('are none at first', async () => {
    const { alice } = await sender()
    expect(await pending(alice)).toEqual([])
  })

  it('are shown to nobody without a token', async () => {
    expect((await ask(server.clientUrl, 'GET', base)).status).toBe(401)
  })

  it('are sent in their order when their time has come', async () => {
    const { alice, room } = await sender()
    const { next_batch: from } = await alice.sync()
    for (const [count, ms] of [700, 800, 900].entries()) {
      await delayed(alice, alice.room(room, 'send', type, unique('t')), { count }, ms)
    }
    await eventually(
      async () => await pending(alice),
      (left) => left.length === 0,
    )
    const seen = await eventually(
      () => alice.messages(room, { dir: 'f', from }),
      ({ chunk }) => chunk.length === 3,
    )
    expect(seen.chunk.map(({ content }) => content)).toEqual([
      { count: 0 },
      { count: 1 },
      { count: 2 },
    ])
  })

  it('have one id however often they are asked for with one transaction', async () => {
    const { alice, room } = await sender()
    const where = alice.room(room, 'send', type, unique('t'))
    const id = await delayed(alice, where, { a: 1 }, long)
    expect(await delayed(alice, where, undefined, long)).toBe(id)
    expect(await pending(alice)).toHaveLength(1)
  })

  it('are not shown to others', async () => {
    const { alice, room } = await sender()
    await delayedState(alice, room, 'own', long)
    const bob = await register(server, 'bob')
    await bob.join(room)
    expect(await pending(bob)).toEqual([])
  })

  it('set state when their time has come', async () => {
    const { alice, room } = await sender()
    await delayedState(alice, room, 'on_timeout', 2_500, { setter: 'on_timeout' })
    const [waiting] = await pending(alice)
    expect(waiting?.content).toEqual({ setter: 'on_timeout' })
    expect((await stateOf(alice, room, 'on_timeout')).status).toBe(404)
    await alice.syncUntil(inTimeline(room, ({ state_key }) => state_key === 'on_timeout'))
    expect((await stateOf(alice, room, 'on_timeout')).body).toEqual({ setter: 'on_timeout' })
    await eventually(
      async () => await pending(alice),
      (left) => left.length === 0,
    )
  })

  it('are told what to do, and only what is known', async () => {
    const nothing = await ask(server.clientUrl, 'POST', path(base, 'abc'), { body: {} })
    expect(nothing.status).toBeGreaterThanOrEqual(400)
    expect((await act(server, 'abc', 'oops')).status).toBe(404)
  })

  it.each(['cancel', 'restart', 'send'])(
    'that nobody knows are not there to %s',
    async (action) => {
      expect(await act(server, 'abc', action)).toMatchObject({
        status: 404,
        body: { errcode: 'M_NOT_FOUND' },
      })
    },
  )

  it('are not sent when they are cancelled', async () => {
    const { alice, room } = await sender()
    const id = await delayedState(alice, room, 'never', 4_000)
    const other = await delayedState(alice, room, 'later', 4_500)
    expect((await act(server, id, 'cancel')).status).toBe(200)
    expect((await pending(alice)).map(({ delay_id }) => delay_id)).toEqual([other])
    // What was to be sent after it is there.
    await alice.syncUntil(inTimeline(room, ({ state_key }) => state_key === 'later'))
    expect((await stateOf(alice, room, 'never')).status).toBe(404)
  })

  it('are sent at once on request', async () => {
    const { alice, room } = await sender()
    const id = await delayedState(alice, room, 'on_send', long, { setter: 'on_send' })
    expect(await pending(alice)).toHaveLength(1)
    expect((await act(server, id, 'send')).status).toBe(200)
    await alice.syncUntil(inTimeline(room, ({ state_key }) => state_key === 'on_send'))
    expect((await stateOf(alice, room, 'on_send')).body).toEqual({ setter: 'on_send' })
    expect(await pending(alice)).toEqual([])
  })

  it('wait anew when they are restarted', async () => {
    const { alice, room } = await sender()
    const id = await delayedState(alice, room, 'restarted', 3_000)
    const begun = performance.now()
    await eventually(
      async () => performance.now() - begun,
      (ms) => ms > 1_500,
    )
    expect((await act(server, id, 'restart')).status).toBe(200)
    const restarted = performance.now()
    expect((await stateOf(alice, room, 'restarted')).status).toBe(404)
    await alice.syncUntil(inTimeline(room, ({ state_key }) => state_key === 'restarted'))
    expect(performance.now() - restarted).toBeGreaterThan(2_500)
  })

  it('are not sent when somebody else has set the state', async () => {
    const { alice, room } = await sender()
    const bob = await register(server, 'bob')
    await bob.join(room)
    await delayedState(alice, room, 'shared', long, { setter: 'alice' })
    await bob.setState(room, type, 'shared', { setter: 'bob' })
    await eventually(
      async () => await pending(alice),
      (left) => left.length === 0,
    )
  })

  it('are refused with too long a delay', async () => {
    const { alice, room } = await sender()
    const answer = await alice.ask('PUT', alice.room(room, 'state', type, 'far'), {
      body: {},
      query: { [delayParameter]: 10 ** 12 },
    })
    expect(answer.status).toBe(400)
  })
})

describe.skipIf(urlUnderTest !== undefined)('a restart', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    federation = await startFederation([{ launcher: launcherUnderTest }])
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it('keeps delayed events, and those that are due then are sent', async () => {
    const [home] = federation?.servers ?? []
    if (!home) throw new Error('one server')
    const { alice, room } = await sender(home)
    await delayedState(alice, room, 'due', 500)
    const kept = await delayedState(alice, room, 'kept', long)
    await home.stop()
    await home.start()
    await alice.syncUntil(inTimeline(room, ({ state_key }) => state_key === 'due'))
    await eventually(
      async () => await pending(alice),
      (left) => left.length === 1,
    )
    expect((await act(home, kept, 'send')).status).toBe(200)
    await alice.syncUntil(inTimeline(room, ({ state_key }) => state_key === 'kept'))
  })
})
