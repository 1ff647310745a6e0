/**
 * Verify keys of other servers: known ones from the keys slice, unknown or outdated ones from the server itself, else
 * from a configured notary. One request per server at a time; who cannot be reached is not asked again for a while.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys}
 */
import { LRUCache } from 'lru-cache'
import type { KeysOfServer, RemoteKey, RemoteKeys } from '../homeserver/keys/remote-keys.ts'
import { atMost } from '../homeserver/platform/cache.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { KeyRing } from '../homeserver/ports.ts'
import type { ServerKeys } from '../spec/api/federation/keys.ts'
import { verifyJson } from '../spec/crypto/sign-json.ts'
import type { ServerName } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import { createKeyFetch } from './key-fetch.ts'
import type { FederationClient } from './request.ts'

interface Needs {
  readonly serverName: ServerName
  /** Our own keys by key id, old ones too. */
  readonly own: KeysOfServer
  readonly store: RemoteKeys
  readonly client: FederationClient
  readonly clock: Clock
  readonly log: Logger
  /** Servers that are asked when a server does not answer itself; default none. */
  readonly notaries?: readonly ServerName[]
}

export interface FetchingKeyRing extends KeyRing {
  /**
   * The key with which a request claims to be signed now. Nobody has vouched for who sent the request, so that fetches
   * for requests have few places of their own and never crowd out those for events.
   */
  senderKey(server: ServerName, keyId: string): Promise<string | undefined>
  /** Asks for a server's keys now, unless that was just done; for a notary's answer. */
  refresh(server: ServerName): Promise<void>
}

/** A published validity counts for at most this long. */
const validityMaxMs = 7 * 24 * 3_600_000
/** After a fetch the server is left alone for this long, doubling with each that is no use, up to the longest. */
const pauseMs = 5_000
/** For a server that answered, but without the wanted key: it may have made a new one. */
const answeredPauseMaxMs = 60_000
const failedPauseMaxMs = 600_000
const serversMax = 20_000
/** Fetches under way, and those that wait for their turn; beyond that keys are unknown. */
const fetchesMax = 256
const waitingMax = 20_000
/** The same for keys of requests whose sender is not known yet. */
const senderFetchesMax = 20
const senderWaitingMax = 500

interface Attempt {
  readonly until: number
  readonly pauseMs: number
}

export function createKeyRing(needs: Needs): FetchingKeyRing {
  const { clock, store, serverName } = needs
  /** Requests that are being made, and what waits for a place to make one. */
  const fetching = new Map<ServerName, Promise<void>>()
  const forEvents = createLane(fetchesMax, waitingMax)
  const forSenders = createLane(senderFetchesMax, senderWaitingMax)
  const attempts = new LRUCache<ServerName, Attempt>({ ...atMost(serversMax) })
  const fetchAnswer = createKeyFetch({ ...needs, isSignedBy })

  /** Has the server signed the object with a key that is valid now. */
  async function isSignedBy(server: ServerName, json: JsonObject): Promise<boolean> {
    await refresh(server, forEvents)
    for (const [keyId, key] of await store.keysOf(server)) {
      if (usable(key, clock.now()) && verifyJson(json, server, keyId, key.publicKey)) return true
    }
    return false
  }

  async function find(server: ServerName, keyId: string, validAt: number, lane: Lane) {
    if (server === serverName) return usable(needs.own.get(keyId), validAt)
    const known = usable((await store.keysOf(server)).get(keyId), validAt)
    if (known !== undefined) return known
    await refresh(server, lane)
    return usable((await store.keysOf(server)).get(keyId), validAt)
  }

  async function refresh(server: ServerName, lane: Lane): Promise<void> {
    if (isPaused(server)) return
    await (fetching.get(server) ?? lane.run(server, () => fetchOnce(server)))
  }

  function isPaused(server: ServerName): boolean {
    return (attempts.get(server)?.until ?? 0) > clock.now()
  }

  async function fetchOnce(server: ServerName): Promise<void> {
    // Somebody in the other lane may have had a place earlier.
    if (isPaused(server)) return
    const running = fetching.get(server)
    if (running !== undefined) return await running
    const fetch = fetchKeys(server).finally(() => fetching.delete(server))
    fetching.set(server, fetch)
    await fetch
  }

  async function fetchKeys(server: ServerName): Promise<void> {
    const answer = await fetchAnswer(server)
    attempts.set(server, attemptAfter(attempts.get(server), clock.now(), answer !== undefined))
    if (!answer) return
    const keys = keysIn(answer.keys, clock.now())
    const validUntil = validity(answer.keys, clock.now())
    await store.store(server, keys, { validUntil, json: JSON.stringify(answer.json) })
  }

  return {
    verifyKey: (server, keyId, validAt) => find(server, keyId, validAt, forEvents),
    senderKey: (server, keyId) => find(server, keyId, clock.now(), forSenders),
    // Anybody may ask a notary, and about any server.
    refresh: (server) => refresh(server, forSenders),
  }
}

/** A long time without a question, and the server begins anew. */
function attemptAfter(before: Attempt | undefined, now: number, answered: boolean): Attempt {
  const pauseMaxMs = answered ? answeredPauseMaxMs : failedPauseMaxMs
  const isRecent = before !== undefined && now < before.until + failedPauseMaxMs
  const pause = isRecent ? Math.min(before.pauseMs * 2, pauseMaxMs) : pauseMs
  return { until: now + pause, pauseMs: pause }
}

function keysIn(answer: ServerKeys, now: number): Map<string, RemoteKey> {
  const keys = new Map<string, RemoteKey>()
  for (const [keyId, { key, expired_ts }] of Object.entries(answer.old_verify_keys ?? {})) {
    keys.set(keyId, { publicKey: key, validUntil: expired_ts, expiredAt: expired_ts })
  }
  for (const [keyId, { key }] of Object.entries(answer.verify_keys)) {
    keys.set(keyId, { publicKey: key, validUntil: validity(answer, now) })
  }
  return keys
}

function validity(answer: ServerKeys, now: number): number {
  return Math.min(answer.valid_until_ts, now + validityMaxMs)
}

function usable(key: RemoteKey | undefined, validAt: number): string | undefined {
  return key && validAt <= (key.expiredAt ?? key.validUntil) ? key.publicKey : undefined
}

/** Works one at a time for each server, and so many servers at a time. */
interface Lane {
  /** Resolves when the server's work is done, or without it when too much waits already. */
  run(server: ServerName, work: () => Promise<void>): Promise<void>
}

function createLane(max: number, waitingMax: number): Lane {
  const works = new Map<ServerName, Promise<void>>()
  const waiting: (() => void)[] = []
  let running = 0

  async function inPlace(work: () => Promise<void>): Promise<void> {
    if (running >= max) {
      if (waiting.length >= waitingMax) return
      // The place of the one before is handed on.
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else running++
    try {
      await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }

  return {
    run(server, work) {
      const known = works.get(server)
      if (known !== undefined) return known
      const fresh = inPlace(work).finally(() => works.delete(server))
      works.set(server, fresh)
      return fresh
    },
  }
}
