import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createDatabase } from '../../homeserver/database/database.ts'
import { systemClock } from '../../homeserver/platform/clock.ts'
import { silentLogger } from '../../homeserver/platform/log.ts'
import { systemRandom } from '../../homeserver/platform/random.ts'
import { createStream, type Stream } from '../../homeserver/stream/stream.ts'
import { parseRoomId, parseUserId } from '../../spec/ids.ts'

/** Rate and latency of the bare log: writes as a message makes them (fence, key, one entry, one row of 800 bytes). */

const seconds = 5
const roomsCount = 50
const body = JSON.stringify({
  type: 'm.room.message',
  content: { msgtype: 'm.text', body: 'x'.repeat(600) },
})

interface Line {
  readonly callers: number
  readonly rate: number
  readonly p50: number
  readonly p99: number
  readonly cpuUs: number
}

export async function measureRates(databaseUrl: string): Promise<void> {
  await using db = createDatabase({ url: databaseUrl })
  await db.query(
    'create table rate_rows (position bigint primary key, room text not null, id text not null unique, json text not null)',
    [],
  )
  await db.query(
    `create function log_apply_rate(rows jsonb, base bigint) returns void language sql as $$
       insert into rate_rows select base + r.i, r.room, r.id, r.json
         from jsonb_to_recordset(rows) as r(i int, room text, id text, json text) $$`,
    [],
  )
  console.log('processes callers   writes/s  p50 ms  p99 ms  Node CPU us/write')
  {
    const stream = await open(databaseUrl)
    const rooms = await takeRooms(stream, 'a')
    await measure(stream, rooms, 16, 2)
    for (const callers of [1, 16, 64, 256]) print(1, await measure(stream, rooms, callers, seconds))
    await stream[Symbol.asyncDispose]()
  }
  for (const callers of [1, 64, 256]) {
    const names = [`b${callers}`, `c${callers}`]
    const lines = await Promise.all(
      names.map((name) => measureElsewhere(databaseUrl, name, callers)),
    )
    for (const line of lines) print(2, line)
  }
}

/** Measures so many callers and reports to the parent; in a process of its own. */
export async function measureAsChild(
  databaseUrl: string,
  name: string,
  callers: number,
): Promise<void> {
  const stream = await open(databaseUrl)
  const rooms = await takeRooms(stream, name)
  await systemClock.sleep(2_000)
  process.send?.(await measure(stream, rooms, callers, seconds))
  await systemClock.sleep(1_000)
  await stream[Symbol.asyncDispose]()
  process.disconnect?.()
}

function measureElsewhere(databaseUrl: string, name: string, callers: number): Promise<Line> {
  const path = fileURLToPath(new URL('./run-rates.mjs', import.meta.url))
  const child = fork(path, [databaseUrl, name, String(callers)], { execArgv: [] })
  return new Promise((resolve, reject) => {
    child.once('message', (line: Line) => resolve(line))
    child.once('exit', () => reject(new Error('a measuring process died')))
  })
}

async function open(databaseUrl: string): Promise<Stream> {
  const stream = await createStream({
    settings: { databaseUrl, secret: 'rates', peerHost: '127.0.0.1', peerPort: 0 },
    clock: systemClock,
    log: silentLogger,
    random: systemRandom,
  })
  await stream.start()
  return stream
}

async function takeRooms(stream: Stream, name: string) {
  return Promise.all(
    Array.from({ length: roomsCount }, async (_, n) => {
      const room = parseRoomId(`!${name}${n}:rates`)
      const verdict = await stream.writer.write({ claim: { room }, entries: [] })
      return { room, value: verdict.kind === 'done' ? (verdict.fence ?? 0) : 0 }
    }),
  )
}

async function measure(
  { writer }: Stream,
  rooms: Awaited<ReturnType<typeof takeRooms>>,
  callers: number,
  forSeconds: number,
): Promise<Line> {
  const user = parseUserId('@user:rates')
  const latencies: number[] = []
  const cpu = process.cpuUsage()
  const startedAt = performance.now()
  const end = startedAt + forSeconds * 1_000
  const run = systemRandom.text(8)
  let count = 0
  async function call(): Promise<void> {
    for (let at = performance.now(); at < end; at = performance.now()) {
      const id = `$${run}${count++}`
      const fence = rooms[count % rooms.length]
      if (fence === undefined) return
      const { room } = fence
      const verdict = await writer.write({
        fence,
        once: { scope: 'rates', key: id, answer: id },
        entries: [
          {
            kind: 'event',
            room,
            user,
            ref: id,
            payload: body,
            tables: { rate: [{ room, id, json: body }] },
          },
        ],
      })
      if (verdict.kind !== 'done') throw new Error(verdict.kind)
      latencies.push(performance.now() - at)
    }
  }
  await Promise.all(Array.from({ length: callers }, call))
  const took = performance.now() - startedAt
  const used = process.cpuUsage(cpu)
  const sorted = Float64Array.from(latencies).sort()
  return {
    callers,
    rate: (latencies.length * 1_000) / took,
    p50: sorted[Math.floor(sorted.length * 0.5)] ?? 0,
    p99: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    cpuUs: (used.user + used.system) / latencies.length,
  }
}

function print(processes: number, { callers, rate, p50, p99, cpuUs }: Line): void {
  const columns = [
    String(processes).padStart(9),
    String(callers).padStart(7),
    rate.toFixed(0).padStart(10),
    p50.toFixed(2).padStart(7),
    p99.toFixed(2).padStart(7),
    cpuUs.toFixed(1).padStart(18),
  ]
  console.log(columns.join(' '))
}
