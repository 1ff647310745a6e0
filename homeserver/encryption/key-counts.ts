import { type DeviceId, isDeviceId, isUserId, type UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { LogEntry, Tail } from '../stream/log.ts'
import { createTailedCache } from '../stream/tailed-cache.ts'
import * as queries from './queries.ts'

export type Counts = Readonly<Record<string, number>>

interface DeviceCounts {
  readonly oneTime: Counts
  readonly unusedFallback: readonly string[]
}

const devicesMax = 50_000

/** What every sync of a device says about its one-time keys. */
export function createKeyCounts({ db, tail }: { db: Database; tail: Pick<Tail, 'subscribe'> }) {
  const cache = createTailedCache<DeviceCounts>({
    tail,
    name: 'key_counts',
    entriesMax: devicesMax,
    async load(key) {
      const [user, device]: unknown[] = JSON.parse(key)
      if (!isUserId(user) || !isDeviceId(device)) throw new Error('not the key of a device')
      const fallback = await queries.unusedFallbackAlgorithms(db, user, device)
      return {
        oneTime: await exact(user, device),
        unusedFallback: fallback.map((f) => f.algorithm),
      }
    },
  })

  async function exact(user: UserId, device: DeviceId): Promise<Counts> {
    const rows = await queries.countOneTimeKeys(db, user, device)
    // Clients upload keys when they see a zero, and do nothing when they see no number.
    return {
      signed_curve25519: 0,
      ...Object.fromEntries(rows.map((row) => [row.algorithm, row.n])),
    }
  }

  return {
    exact,
    counts: async (user: UserId, device: DeviceId) =>
      (await cache.get(countsKey(user, device))).oneTime,
    unusedFallback: async (user: UserId, device: DeviceId) =>
      (await cache.get(countsKey(user, device))).unusedFallback,
  }
}

function countsKey(user: UserId, device: DeviceId): string {
  return JSON.stringify([user, device])
}

/** Tells every process that a device's keys became more or fewer. */
export function countsChanged(
  user: UserId,
  device: DeviceId,
  tables: LogEntry['tables'] = {},
): LogEntry {
  const ref = `key_counts:${countsKey(user, device)}`
  return { kind: 'invalidate', user, ref, payload: undefined, tables }
}
