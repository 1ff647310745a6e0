import { badJson, invalidParam, MatrixError } from '../../spec/errors.ts'
import { isDeviceId, isUserId, type ServerName, serverOfUser } from '../../spec/ids.ts'
import { isObject, type Json, type JsonObject, objectAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Remote } from '../ports.ts'
import type { LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { failureOf, groupByServer } from './ask-servers.ts'
import { countsChanged } from './key-counts.ts'
import * as queries from './queries.ts'

const claimsMax = 10_000

/** Claims of one-time keys: each key is given out once. */
export function createClaims(needs: {
  db: Database
  log: Pick<LogWriter, 'write'>
  remote: Pick<Remote, 'claimKeys'>
  serverName: ServerName
}) {
  const { db, log, remote, serverName } = needs

  async function claimLocal(claims: readonly queries.Claim[]): Promise<Json> {
    if (claims.length === 0) return {}
    const taken = await queries.takeOneTimeKeys(db, claims)
    const got = new Set(taken.map(claimKey))
    const unmet = claims.filter(
      (c) => !got.has(claimKey({ user_id: c.user, device_id: c.device, algorithm: c.algorithm })),
    )
    const fallback = unmet.length === 0 ? [] : await queries.useFallbackKeys(db, unmet)
    const rows = [...taken, ...fallback]
    if (rows.length > 0) {
      const devices = new Map(rows.map((row) => [`${row.user_id}|${row.device_id}`, row]))
      await writeDone(log, {
        entries: [...devices.values()].map((row) => countsChanged(row.user_id, row.device_id)),
      })
    }
    return keysByUser(rows)
  }

  async function localClaim(oneTimeKeys: JsonObject): Promise<JsonObject> {
    const claims = claimsIn(oneTimeKeys).filter((claim) => serverOfUser(claim.user) === serverName)
    return { one_time_keys: await claimLocal(claims) }
  }

  async function claim(oneTimeKeys: JsonObject): Promise<JsonObject> {
    const claims = claimsIn(oneTimeKeys)
    const { local, remotes } = groupByServer(oneTimeKeys, serverName)
    const failures: Record<string, Json> = {}
    const answers = await Promise.all(
      remotes.map(async ([server, users]) => {
        try {
          return objectAt(await remote.claimKeys(server, users), 'one_time_keys') ?? {}
        } catch (error) {
          failures[server] = failureOf(error)
          return {}
        }
      }),
    )
    const foreign = answers.flatMap((answer, n) => {
      const asked = remotes[n]?.[1] ?? {}
      return Object.entries(answer).filter(([user]) => Object.hasOwn(asked, user))
    })
    const here = await claimLocal(claims.filter((one) => Object.hasOwn(local, one.user)))
    return {
      one_time_keys: { ...Object.fromEntries(foreign), ...(isObject(here) ? here : {}) },
      failures,
    }
  }

  return { claim, localClaim }
}

/** Throws M_BAD_JSON or M_INVALID_PARAM naming the field. */
function claimsIn(oneTimeKeys: JsonObject): queries.Claim[] {
  const claims: queries.Claim[] = []
  for (const [user, devices] of Object.entries(oneTimeKeys)) {
    if (!isUserId(user)) throw invalidParam(`one_time_keys.${user}`, 'not a user id')
    if (!isObject(devices)) throw badJson(`one_time_keys.${user}`, 'not an object')
    for (const [device, algorithm] of Object.entries(devices)) {
      if (typeof algorithm !== 'string')
        throw badJson(`one_time_keys.${user}.${device}`, 'not a string')
      if (isDeviceId(device) && !algorithm.includes('\0')) claims.push({ user, device, algorithm })
      if (claims.length > claimsMax)
        throw new MatrixError('M_TOO_LARGE', `more than ${claimsMax} claims`)
    }
  }
  return claims
}

function claimKey(row: Pick<queries.KeyRow, 'user_id' | 'device_id' | 'algorithm'>): string {
  return JSON.stringify([row.user_id, row.device_id, row.algorithm])
}

/** user → device → `algorithm:id` → key */
function keysByUser(rows: readonly queries.KeyRow[]): Json {
  const users: Record<string, Record<string, Json>> = {}
  for (const row of rows) {
    const devices = users[row.user_id] ?? {}
    users[row.user_id] = devices
    const key: Json = JSON.parse(row.key)
    devices[row.device_id] = { [`${row.algorithm}:${row.key_id}`]: key }
  }
  return users
}
