/**
 * What this server knows of other servers' keys: in memory, and in the database so that events of servers that are
 * gone can still be verified. Fetching is the key ring's work (federation/key-ring.ts).
 */
import { LRUCache } from 'lru-cache'
import type { ServerName } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { atMost } from '../platform/cache.ts'
import { remoteKeyAnswers, remoteKeys, upsertRemoteKeyAnswer, upsertRemoteKeys } from './queries.ts'

export interface RemoteKey {
  readonly publicKey: string
  /** Milliseconds since the epoch; what is signed later is not verified with it (room versions 5 and later). */
  readonly validUntil: number
  /** Set for an old key: from then on the server did not use it any more. */
  readonly expiredAt?: number
}
/** Keys of one server by key id. */
export type KeysOfServer = ReadonlyMap<string, RemoteKey>

export interface RemoteKeys {
  keysOf(server: ServerName): Promise<KeysOfServer>
  /** Adds keys; a key that is known takes the new validity. */
  store(server: ServerName, keys: KeysOfServer, published: Published): Promise<void>
  /** What servers published last, for a notary's answer; those never heard are missing. */
  published(servers: readonly ServerName[]): Promise<ReadonlyMap<ServerName, Published>>
}

/** A key object as its server signed it. */
export interface Published {
  readonly validUntil: number
  readonly json: string
}

/** Servers whose keys are kept in memory. */
const serversMax = 20_000
/** Keys kept of one server. */
const keysPerServerMax = 100

export function createRemoteKeys({ db }: { readonly db: Database }): RemoteKeys {
  const known = new LRUCache<ServerName, Promise<KeysOfServer>>({ ...atMost(serversMax) })

  async function load(server: ServerName): Promise<KeysOfServer> {
    const rows = await remoteKeys(db, server)
    return new Map(
      rows.map((row) => [
        row.key_id,
        {
          publicKey: row.public_key,
          validUntil: row.valid_until,
          ...(row.expired_at !== null && { expiredAt: row.expired_at }),
        },
      ]),
    )
  }

  function keysOf(server: ServerName): Promise<KeysOfServer> {
    const cached = known.get(server)
    if (cached) return cached
    const loading = load(server)
    known.set(server, loading)
    loading.catch(() => known.delete(server))
    return loading
  }

  return {
    keysOf,
    async store(server, keys, published) {
      const merged = new Map(await keysOf(server))
      const fresh: object[] = []
      for (const [keyId, key] of keys) {
        if (!merged.has(keyId) && merged.size >= keysPerServerMax) continue
        merged.set(keyId, key)
        fresh.push({
          key_id: keyId,
          public_key: key.publicKey,
          valid_until: key.validUntil,
          expired_at: key.expiredAt ?? null,
        })
      }
      known.set(server, Promise.resolve(merged))
      await upsertRemoteKeys(db, server, JSON.stringify(fresh))
      await upsertRemoteKeyAnswer(db, server, published.validUntil, published.json)
    },
    async published(servers) {
      const rows = await remoteKeyAnswers(db, servers)
      return new Map(
        rows.map((row) => [row.server, { validUntil: row.valid_until, json: row.json }]),
      )
    },
  }
}
