/**
 * Servers that are cut off from each other while both sides talk and change the room, and then meet again. Both sides
 * are themselves: two or three processes, and a gate in front of each. `PARTITION_ROUNDS`, `PARTITION_SECONDS` and
 * `PARTITION_MESSAGES` make it longer.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import type { Body } from '../harness/http.ts'
import { type LinkedFederation, startLinked } from '../harness/links.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'

const { PARTITION_ROUNDS, PARTITION_SECONDS, PARTITION_MESSAGES } = process.env
const rounds = Number(PARTITION_ROUNDS ?? 1)
const cutMs = Number(PARTITION_SECONDS ?? 4) * 1000
/** Of each person and round. */
const messages = Number(PARTITION_MESSAGES ?? 6)
const healMaxMs = 60_000
const pollMs = 250
const pageLimit = 100
const timeoutMs = 120_000 + rounds * (cutMs + healMaxMs + messages * 1_000)

/** Somebody with every power, and two without any; all of one server. */
interface Household {
  readonly owner: Client
  readonly talker: Client
  readonly silent: Client
}

/** People of each server, in a public room. */
async function gather(federation: LinkedFederation): Promise<{ room: string; homes: Household[] }> {
  const homes = await Promise.all(
    federation.servers.map(async (server) => ({
      owner: await register(server, 'owner'),
      talker: await register(server, 'talker'),
      silent: await register(server, 'silent'),
    })),
  )
  const [maker] = homes
  if (!maker) throw new Error('nobody is there')
  const { owner: first } = maker
  const room = await first.createRoom({ preset: 'public_chat', room_version: '11' })
  for (const { owner, talker, silent } of homes) {
    for (const person of [owner, talker, silent]) {
      await person.join(room, [first.server.name])
    }
  }
  const levels = await first.getState(room, 'm.room.power_levels')
  const users = Object.fromEntries(homes.map(({ owner }) => [owner.userId, 100]))
  await first.setState(room, 'm.room.power_levels', '', { ...levels, users })
  await agreed(
    room,
    homes.map(({ owner }) => owner),
    [],
  )
  return { room, homes }
}

/**
 * What everybody does in a round: talks, and changes what the others change too. Answers the ids of what was said.
 * Nobody talks whom another side shuts out: that would be soft-failed there.
 */
async function live(room: string, homes: readonly Household[], round: number): Promise<string[]> {
  const said = await Promise.all(homes.map((_, at) => liveAs(room, homes, at, round)))
  return said.flat()
}

async function liveAs(
  room: string,
  homes: readonly Household[],
  at: number,
  round: number,
): Promise<string[]> {
  const [home, next] = [homes[at], homes[(at + 1) % homes.length]]
  if (!home || !next) throw new Error('nobody is there')
  const { owner, talker } = home
  const ids: string[] = []
  for (let i = 0; i < messages; i++) {
    ids.push(await owner.sendText(room, `${round} ${i} of ${owner.userId}`))
    ids.push(await talker.sendText(room, `${round} ${i} of ${talker.userId}`))
    if (i % 4 === 0) {
      await owner.setState(room, 'm.room.topic', '', { topic: `${round} ${i} ${owner.userId}` })
    }
  }
  // Each shuts somebody of another server out, and lets them in again in the next round.
  if (round % 2 === 0) await owner.ban(room, next.silent.userId)
  else await owner.unban(room, next.silent.userId)
  const levels = await owner.getState(room, 'm.room.power_levels')
  const change: Body = at % 2 === 0 ? { invite: 50 + round } : { kick: 50 + round }
  await owner.setState(room, 'm.room.power_levels', '', { ...levels, ...change })
  const rule = at % 2 === 0 ? 'public' : 'knock'
  await owner.setState(room, 'm.room.join_rules', '', { join_rule: rule })
  return ids
}

/** The newest of the room's state as a person is shown it: which event holds each key. */
async function stateOf(person: Client, room: string): Promise<Record<string, string>> {
  const state = await person.allState(room)
  return Object.fromEntries(
    state.map(({ type, state_key: key = '', event_id: id }) => [`${type} ${key}`, id]).sort(),
  )
}

/** Ids of all messages that a person finds by scrolling back. */
async function messagesOf(person: Client, room: string): Promise<string[]> {
  const found: string[] = []
  let from: string | undefined
  do {
    const { chunk, end } = await person.messages(room, {
      limit: pageLimit,
      ...(from !== undefined && { from }),
    })
    for (const event of chunk) if (event.type === 'm.room.message') found.push(event.event_id)
    from = end
  } while (from !== undefined)
  return found
}

/** Waits until all are shown the same state and every message once; answers how long that took. */
async function agreed(
  room: string,
  people: readonly Client[],
  said: readonly string[],
): Promise<number> {
  const begin = performance.now()
  const wanted = said.toSorted()
  for (;;) {
    const seen = await Promise.all(
      people.map(async (person) => ({
        state: await stateOf(person, room),
        messages: (await messagesOf(person, room)).sort(),
      })),
    )
    const [first] = seen
    const isSame = seen.every((one) => JSON.stringify(one) === JSON.stringify(first))
    if (isSame && JSON.stringify(first?.messages) === JSON.stringify(wanted)) break
    if (performance.now() - begin > healMaxMs) {
      for (const one of seen) expect(one).toEqual({ state: first?.state, messages: wanted })
    }
    await sleep(pollMs)
  }
  return performance.now() - begin
}

describe.skipIf(urlUnderTest !== undefined).each([
  { title: 'two', launchers: [launcherUnderTest, secondLauncher] },
  { title: 'three', launchers: [launcherUnderTest, secondLauncher, launcherUnderTest] },
])('$title servers that were cut off from each other', ({ launchers }) => {
  let federation: LinkedFederation | undefined
  beforeAll(async () => {
    federation = await startLinked(launchers.map((launcher) => ({ launcher })))
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it(
    'agree on the room, and have lost and doubled nothing',
    async () => {
      if (!federation) throw new Error('no servers')
      const { servers } = federation
      const { room, homes } = await gather(federation)
      const owners = homes.map(({ owner }) => owner)
      const said: string[] = []
      for (let round = 0; round < rounds; round++) {
        const begin = performance.now()
        // Another one is alone in each round.
        const alone = servers.filter((_, at) => at === round % servers.length)
        const together = servers.filter((server) => !alone.includes(server))
        federation.part(alone, together)
        said.push(...(await live(room, homes, round)))
        await sleep(Math.max(0, cutMs - (performance.now() - begin)))
        federation.heal()
        expect(await agreed(room, owners, said)).toBeLessThan(healMaxMs)
      }
    },
    timeoutMs,
  )
})
