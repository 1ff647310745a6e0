import { z } from 'zod'
import { createDatabase } from '../../homeserver/database/database.ts'
import { systemClock } from '../../homeserver/platform/clock.ts'
import { createLogger } from '../../homeserver/platform/log.ts'
import { systemRandom } from '../../homeserver/platform/random.ts'
import type { LogRow } from '../../homeserver/stream/log.ts'
import { createStream } from '../../homeserver/stream/stream.ts'
import { Order, type Report, sumModulus, WorkerSettings } from './protocol.ts'
import { createRoomMemory, type RoomMemory } from './room-memory.ts'

/** A process of the checker: takes requests, passes those of other owners on, writes its own, and follows the log. */

const settings = WorkerSettings.parse(JSON.parse(process.argv[2] ?? '{}'))
const clock = systemClock
const log = createLogger({ level: 'warn' })
const stream = await createStream({
  settings: {
    databaseUrl: settings.databaseUrl,
    redisUrl: settings.redisUrl,
    secret: 'log checker',
    peerHost: '127.0.0.1',
    peerPort: 0,
  },
  clock,
  log,
  random: systemRandom,
})
const { writer, tail, processes, peers } = stream
const { self } = processes
const db = createDatabase({
  url: settings.databaseUrl,
  connections: 3,
  applicationName: 'folkmoot log slices',
})
const rooms = new Map<number, RoomMemory>()
const inWork = new Map<number, Promise<number[]>>()
/** Requests that this worker is bringing to their owners. */
const bringing = new Set<number>()
const verdicts: Record<string, number> = {}
const seen = { start: 0, last: 0, rows: 0, sum: 0 }
let acks: number[] = []
let freeAcks: number[] = []
let freeWrites = 0
let finishing = false

function report(message: Report): void {
  process.send?.(message)
}

function roomOf(request: number): number {
  return request % settings.rooms
}

function memoryOf(room: number): RoomMemory {
  const memory = rooms.get(room) ?? createRoomMemory(room, { db, writer, self })
  rooms.set(room, memory)
  return memory
}

/** Follows the log as a cache would, and notes any row that is not above the one before. */
function onRows(rows: readonly LogRow[]): void {
  for (const row of rows) {
    if (row.position <= seen.last)
      report({ type: 'wrong', what: `${self}: ${row.position} after ${seen.last}` })
    if (seen.rows === 0) seen.start = row.position - 1
    seen.last = row.position
    seen.rows += 1
    seen.sum = (seen.sum + row.position) % sumModulus
    if (row.kind === 'event' && row.payload === self && row.room !== undefined)
      memoryOf(roomOf(Number(row.ref))).committed(row)
  }
}

/** Position of the request, or 0 when it had been written before; undefined when its room is another's. */
async function writeHere(request: number): Promise<number | undefined> {
  for (;;) {
    const verdict = await memoryOf(roomOf(request)).write(request)
    verdicts[verdict.kind] = (verdicts[verdict.kind] ?? 0) + 1
    switch (verdict.kind) {
      case 'done': {
        const [position = 0] = verdict.positions
        if (position > seen.last)
          report({ type: 'wrong', what: `${request} answered before its tail saw it` })
        return position
      }
      case 'duplicate':
        if (verdict.answer !== String(request))
          report({ type: 'wrong', what: `${request} is ${verdict.answer}` })
        return 0
      case 'chained':
        continue
      case 'fenced':
        return undefined
      case 'refused':
        if (verdict.message !== 'overloaded')
          report({ type: 'wrong', what: `${request}: ${verdict.message}` })
        await clock.sleep(100)
        continue
      default:
        verdict satisfies never
    }
  }
}

/** A write that has no key and no room: nothing but its batch's id keeps it from being written twice. */
async function writeFree(): Promise<void> {
  const number = ++freeWrites
  const tables = { check_free: [{ process: self, number }] }
  const entries = [{ kind: 'receipt' as const, ref: `${self} ${number}`, payload: self, tables }]
  const verdict = await writer.write({ entries })
  if (verdict.kind === 'done') freeAcks.push(number, verdict.positions[0] ?? 0)
  else if (verdict.kind !== 'refused' || verdict.message !== 'overloaded') {
    report({ type: 'wrong', what: `write without key: ${verdict.kind}` })
  }
}

const Forwarded = z.object({ requests: z.array(z.number()) })
const Acks = z.object({ acks: z.array(z.number()) })

peers.handle('check/do', async (body) => {
  const { requests } = Forwarded.parse(body)
  return { acks: (await Promise.all(requests.map((request) => writeHereOrFail(request)))).flat() }
})

/** A request that is asked for again while it is in work is not written a second time. */
function writeHereOrFail(request: number): Promise<number[]> {
  const working = inWork.get(request)
  if (working !== undefined) return working
  const work = writeHere(request)
    .catch(() => undefined)
    .then((position) => (position === undefined ? [] : [request, position]))
    .finally(() => inWork.delete(request))
  inWork.set(request, work)
  return work
}

/** Brings requests to the owners of their rooms until they are answered. */
async function bring(requests: readonly number[]): Promise<void> {
  let left = requests.filter((request) => !bringing.has(request))
  for (const request of left) bringing.add(request)
  while (left.length > 0 && !finishing) {
    const byOwner = new Map<string, number[]>()
    for (const request of left) {
      const address = processes.ownerOf(`!${roomOf(request)}:check`)?.address ?? ''
      const group = byOwner.get(address)
      if (group === undefined) byOwner.set(address, [request])
      else group.push(request)
    }
    const answered = new Set<number>()
    await Promise.all(
      [...byOwner].map(async ([address, group]) => {
        const got = address === '' ? await bringHere(group) : await bringTo(address, group)
        for (let at = 0; at < got.length; at += 2) answered.add(got[at] ?? -1)
      }),
    )
    left = left.filter((request) => !answered.has(request))
    for (const request of answered) bringing.delete(request)
    if (left.length > 0) await clock.sleep(30)
  }
}

async function bringHere(requests: readonly number[]): Promise<number[]> {
  const got = await Promise.all(
    requests.map(async (request) => {
      const ack = await writeHereOrFail(request)
      acks.push(...ack)
      return ack
    }),
  )
  return got.flat()
}

/** Gives up as soon as another process owns the rooms. */
async function bringTo(address: string, requests: number[]): Promise<number[]> {
  const moved = new AbortController()
  using _ = processes.onChange(() => {
    if (!processes.others().some((other) => other.address === address)) moved.abort()
  })
  try {
    const answer = await peers.call(address, 'check/do', { requests }, { signal: moved.signal })
    const got = Acks.parse(answer).acks
    acks.push(...got)
    return got
  } catch {
    return []
  }
}

async function finish(): Promise<void> {
  finishing = true
  flush()
  report({
    type: 'finished',
    self,
    start: seen.start,
    end: seen.last,
    rows: seen.rows,
    sum: seen.sum,
    verdicts,
  })
  await stream[Symbol.asyncDispose]()
  await db[Symbol.asyncDispose]()
  process.disconnect?.()
}

function flush(): void {
  if (acks.length > 0) report({ type: 'done', acks })
  if (freeAcks.length > 0) report({ type: 'free', self, acks: freeAcks })
  acks = []
  freeAcks = []
}

process.on('message', (message) => {
  const order = Order.parse(message)
  if (order.type === 'finish') void finish()
  else {
    void bring(order.requests)
    void writeFree()
  }
})
process.on('disconnect', () => process.exit())
tail.subscribe('checker', onRows)
tail.loader('event', async (rows) => rows.map(() => 'other'))
await stream.start()
setInterval(flush, 5).unref()
report({ type: 'ready', self })
