import type { DeviceId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import { updateLastSeen } from './queries.ts'

/** When and from where a device was last heard of. */
export interface Seen {
  readonly user: UserId
  readonly device: DeviceId
  readonly at: number
  readonly ip: string
  readonly agent: string
}

/** Written behind: a crash loses at most a minute of it. */
export interface LastSeen extends AsyncDisposable {
  note(user: UserId, device: DeviceId, from: { ip: string; agent: string }): void
  /** What is noted and not written yet. */
  find(user: UserId, device: DeviceId): Seen | undefined
}

const flushMs = 60_000
const pendingMax = 50_000
const agentLengthMax = 256

export function createLastSeen({ db, clock }: { db: Db; clock: Clock }): LastSeen {
  let pending = new Map<string, Seen>()

  async function flush(): Promise<void> {
    const seen = [...pending.values()]
    pending = new Map()
    if (seen.length > 0) await updateLastSeen(db, seen)
  }

  // A lost write only makes a "last seen" older than it is.
  const timer = clock.every(flushMs, () => void flush().catch(() => undefined))
  return {
    note(user, device, { ip, agent }) {
      const key = `${user}|${device}`
      if (pending.size >= pendingMax && !pending.has(key)) return
      const plainAgent = agent.slice(0, agentLengthMax).replaceAll('\0', '')
      pending.set(key, { user, device, at: clock.now(), ip, agent: plainAgent })
    },
    find: (user, device) => pending.get(`${user}|${device}`),
    async [Symbol.asyncDispose]() {
      timer[Symbol.dispose]()
      await flush().catch(() => undefined)
    },
  }
}
