/** What is measured. Each scenario makes its own users and rooms, and checks that what was answered is there. */
import { Client } from 'undici'
import { createLoadClient, type LoadClient, type LoadUser } from './http-client.ts'
import { serveLargeRoom } from './large-room.ts'
import { drive, type Limits } from './measure.ts'
import { watchMemory } from './proc.ts'
import type { Bench } from './round.ts'

const senders = 64
const manyRooms = 50
const syncRooms = 20
const warmUp = 20
const largeRoomMembers = 10_000
const largeJoinTimeoutMs = 900_000
const probeMs = 20
/** Time for the sync to be waiting when the event is sent. */
const beforeSendMs = 3
const text = (i: number) => `message ${i}: the quick brown fox jumps over the lazy dog`

interface Scenario {
  readonly name: string
  run(bench: Bench): Promise<void>
}

export const scenarios: readonly Scenario[] = [
  { name: 'one-sender', run: oneSender },
  { name: 'one-room', run: oneRoom },
  { name: 'many-rooms', run: manyRoomsAtOnce },
  { name: 'delivery', run: delivery },
  { name: 'empty-sync', run: emptySync },
  { name: 'initial-sync', run: initialSync },
  { name: 'join', run: join },
  { name: 'federation', run: federatedDelivery },
  { name: 'large-join', run: largeJoin },
]
export const scenarioNames = scenarios.map(({ name }) => name)

async function oneSender({ client, limits, load }: Bench): Promise<void> {
  const user = await client.register('sender')
  const room = await client.createRoom(user)
  for (let i = 0; i < warmUp; i++) await client.send(user, room, text(i))
  const ids: string[] = []
  await load('one sender', () =>
    drive(1, limits, async (_, i) => {
      ids.push(await client.send(user, room, text(i)))
    }),
  )
  await allThere(client, user, room, ids)
}

async function oneRoom({ client, limits, load }: Bench): Promise<void> {
  const users = await registerAll(client, senders)
  const owner = first(users)
  const room = await client.createRoom(owner)
  for (const user of users.slice(1)) await client.join(user, room)
  const ids: string[] = []
  await load(`${senders} senders in one room`, () =>
    drive(senders, limits, async (worker, i) => {
      ids.push(await client.send(users[worker] ?? owner, room, text(i)))
    }),
  )
  await allThere(client, owner, room, ids)
}

async function manyRoomsAtOnce({ client, limits, load }: Bench): Promise<void> {
  const users = await registerAll(client, manyRooms)
  const rooms: { user: LoadUser; id: string; sent: string[] }[] = []
  for (const user of users) rooms.push({ user, id: await client.createRoom(user), sent: [] })
  await load(`${senders} senders in ${manyRooms} rooms`, () =>
    drive(senders, limits, async (_, i) => {
      const room = rooms[i % rooms.length]
      if (!room) throw new Error('no room')
      room.sent.push(await client.send(room.user, room.id, text(i)))
    }),
  )
  for (const { user, id, sent } of rooms) await allThere(client, user, id, sent)
}

/** From the beginning of the send to the moment another user's waiting sync has the event. */
async function delivery({ client, limits, load }: Bench): Promise<void> {
  const [sender, reader] = [await client.register('sender'), await client.register('reader')]
  const room = await client.createRoom(sender)
  await client.join(reader, room)
  await load('delivery to a waiting sync', () =>
    deliver(client, sender, client, reader, room, limits),
  )
}

async function deliver(
  from: LoadClient,
  sender: LoadUser,
  to: LoadClient,
  reader: LoadUser,
  room: string,
  limits: Limits,
) {
  let since = String((await to.sync(reader))['next_batch'])
  return await drive(1, limits, async (_, i) => {
    let waiting = to.sync(reader, since, 30_000)
    await new Promise((resolve) => setTimeout(resolve, beforeSendMs))
    const startedAt = performance.now()
    const wanted = from.send(sender, room, text(i))
    for (;;) {
      const answer = await waiting
      const arrivedAt = performance.now()
      since = String(answer['next_batch'])
      // The sync may have woken for something else, and the send may be answered after the delivery.
      if (JSON.stringify(answer).includes(await wanted)) return arrivedAt - startedAt
      waiting = to.sync(reader, since, 30_000)
    }
  })
}

async function emptySync({ client, limits, load }: Bench): Promise<void> {
  const users = await registerAll(client, 16)
  const since: string[] = []
  for (const user of users) {
    await client.createRoom(user)
    since.push(String((await client.sync(user))['next_batch']))
  }
  await load('empty sync, 16 clients', () =>
    drive(users.length, limits, async (worker) => {
      const answer = await client.sync(users[worker] ?? first(users), since[worker] ?? '')
      if (JSON.stringify(answer['rooms'] ?? {}).includes('event_id'))
        throw new Error('the sync is not empty')
      since[worker] = String(answer['next_batch'])
    }),
  )
}

async function initialSync({ client, limits, load }: Bench): Promise<void> {
  const user = await client.register('syncer')
  for (let room = 0; room < syncRooms; room++) {
    const id = await client.createRoom(user, { name: `room ${room}` })
    for (let i = 0; i < 10; i++) await client.send(user, id, text(i))
  }
  await load(`initial sync of ${syncRooms} rooms`, () =>
    drive(1, { ...limits, samples: Math.ceil(limits.samples / 10) }, async () => {
      const answer = await client.sync(user)
      const rooms = Object.keys(Object(Object(answer['rooms']).join))
      if (rooms.length !== syncRooms) throw new Error(`${rooms.length} rooms are in the sync`)
    }),
  )
}

async function join({ client, limits, load }: Bench): Promise<void> {
  const users = await registerAll(client, 40)
  const owner = first(users)
  const rooms: string[] = []
  for (let i = 0; i < Math.ceil(limits.samples / 39); i++)
    rooms.push(await client.createRoom(owner))
  await load('local join, 4 clients', () =>
    drive(4, limits, async (_, i) => {
      const room = rooms[Math.floor(i / 39)] ?? ''
      await client.join(users[(i % 39) + 1] ?? owner, room)
    }),
  )
}

async function federatedDelivery({ client, limits, load, second, note }: Bench): Promise<void> {
  const other = await second()
  const away = createLoadClient(other.clientUrl)
  try {
    const sender = await client.register('sender')
    const reader = await away.register('reader')
    const room = await client.createRoom(sender)
    const before = performance.now()
    await away.join(reader, room, String(room.split(':').slice(1).join(':')))
    note('join over federation', performance.now() - before, 'ms', 'lower')
    await load('delivery over federation', () =>
      deliver(client, sender, away, reader, room, limits),
    )
    const ids: string[] = []
    await load('sends to another server', () =>
      drive(8, limits, async (_, i) => {
        ids.push(await client.send(sender, room, text(i)))
      }),
    )
    await settle(away, reader, room, ids)
  } finally {
    await away.close()
  }
}

/** A room of ten thousand members on another server; meanwhile others ask for something small. */
async function largeJoin({ client, server, authority, limits, load, note }: Bench): Promise<void> {
  const peer = await serveLargeRoom(authority, largeRoomMembers)
  const options = { headersTimeout: largeJoinTimeoutMs, bodyTimeout: largeJoinTimeoutMs }
  const patient = new Client(server.clientUrl, options)
  const prober = new Client(server.clientUrl, options)
  const memory = watchMemory(() => server.pid())
  try {
    const user = await client.register('joiner')
    const probe = probing(prober)
    const path = `/_matrix/client/v3/join/${encodeURIComponent(peer.roomId)}?via=${peer.name}&server_name=${peer.name}`
    const headers = { authorization: `Bearer ${user.token}`, 'content-type': 'application/json' }
    const what = `join of a remote room of ${largeRoomMembers} members`
    await load(what, () =>
      drive(1, { ...limits, samples: 1 }, async () => {
        const answer = await patient.request({ method: 'POST', path, headers, body: '{}' })
        const text = await answer.body.text()
        if (answer.statusCode !== 200) throw new Error(`the join was refused: ${text}`)
      }),
    )
    note(`${what}, longest wait of others`, await probe.stop(), 'ms', 'lower')
    note(`${what}, peak memory`, memory.stop() / 2 ** 20, 'MiB', 'lower')
    const members = await client.request(
      'GET',
      `/_matrix/client/v3/rooms/${encodeURIComponent(peer.roomId)}/joined_members`,
      user.token,
    )
    const count = Object.keys(Object(members['joined'])).length
    if (count !== largeRoomMembers + 2) throw new Error(`${count} members are in the room`)
    await client.send(user, peer.roomId, text(0))
  } finally {
    memory.stop()
    await Promise.all([patient.close(), prober.close(), peer.close()])
  }
}

/** Asks for something that costs nothing, again and again; stop answers the longest wait in ms. */
function probing(prober: Client): { stop: () => Promise<number> } {
  let longestMs = 0
  let isOver = false
  const asking = (async () => {
    while (!isOver) {
      const before = performance.now()
      const answer = await prober.request({ method: 'GET', path: '/_matrix/client/versions' })
      await answer.body.dump()
      longestMs = Math.max(longestMs, performance.now() - before)
      await new Promise((resolve) => setTimeout(resolve, probeMs))
    }
  })()
  return {
    async stop() {
      isOver = true
      await asking
      return longestMs
    },
  }
}

async function settle(
  client: LoadClient,
  user: LoadUser,
  room: string,
  ids: readonly string[],
): Promise<void> {
  const deadline = performance.now() + 120_000
  for (;;) {
    const there = await client.history(user, room)
    if (ids.every((id) => there.has(id))) return
    if (performance.now() > deadline) throw new Error('events never arrived at the other server')
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

async function registerAll(client: LoadClient, count: number): Promise<LoadUser[]> {
  const users: LoadUser[] = []
  for (let i = 0; i < count; i++) users.push(await client.register('load'))
  return users
}

function first(users: readonly LoadUser[]): LoadUser {
  const [user] = users
  if (!user) throw new Error('no user')
  return user
}

/** Every answered event is in the room, and no id was given twice. */
async function allThere(
  client: LoadClient,
  user: LoadUser,
  room: string,
  ids: readonly string[],
): Promise<void> {
  if (new Set(ids).size !== ids.length) throw new Error('an event id was given twice')
  const there = await client.history(user, room)
  const missing = ids.filter((id) => !there.has(id)).length
  if (missing > 0)
    throw new Error(`${missing} of ${ids.length} answered events are not in the room`)
}
