/**
 * Owns the profiles of local users, field by field, and asks other servers for theirs. A new name or avatar is
 * carried into the user's rooms. {@link https://spec.matrix.org/v1.19/client-server-api/#profiles}
 */
import { LRUCache } from 'lru-cache'
import { badJson, invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
import { type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
import { isObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable } from '../database/stored-text.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import type { Remote } from '../ports.ts'
import * as queries from './queries.ts'

export interface Profiles {
  /** All fields; throws M_NOT_FOUND for a user that does not exist. Remote profiles may be five minutes old. */
  get(user: UserId): Promise<JsonObject>
  /** One field; throws M_NOT_FOUND when it is not set. */
  field(user: UserId, name: string): Promise<Json>
  /** As `get`, for a local user only, and empty instead of an error: what a member event is filled from. */
  local(user: UserId): Promise<JsonObject>
  set(user: UserId, name: string, value: Json): Promise<void>
  /** Unset fields are passed over. */
  delete(user: UserId, name: string): Promise<void>
}

export interface ProfilesNeeds {
  readonly db: Database
  readonly clock: Clock
  readonly serverName: ServerName
  readonly remote: Pick<Remote, 'profile'>
  /** Carries a changed name or avatar into the member events of the user's rooms. */
  readonly propagate: (user: UserId, profile: JsonObject) => Promise<void>
}

const profileBytesMax = 65_536
const fieldNameBytesMax = 255
const displayNameLengthMax = 256
const avatarLengthMax = 1000
const remoteProfilesMax = 10_000
const remoteProfileMs = 300_000

/** `displayname`, `avatar_url`, `m.tz`, or a name of the common namespaced identifier grammar. */
const fieldName = /^(avatar_url|displayname|m\.tz|[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+)$/

export function createProfiles(needs: ProfilesNeeds): Profiles {
  const { db, clock, serverName } = needs
  const remotes = new LRUCache<UserId, { at: number; profile: Promise<JsonObject> }>({
    ...atMost(remoteProfilesMax),
  })

  async function local(user: UserId): Promise<JsonObject> {
    const rows = await queries.profileFieldsOf(db, user)
    return Object.fromEntries(rows.map(({ field, value }) => [field, parsed(value)]))
  }

  function remote(user: UserId): Promise<JsonObject> {
    const known = remotes.get(user)
    if (known !== undefined && known.at + remoteProfileMs > clock.now()) return known.profile
    const profile = needs.remote.profile(serverOfUser(user), user)
    remotes.set(user, { at: clock.now(), profile })
    profile.catch(() => remotes.delete(user))
    return profile
  }

  async function get(user: UserId): Promise<JsonObject> {
    if (serverOfUser(user) !== serverName) return await remote(user)
    const profile = await local(user)
    if (Object.keys(profile).length === 0 && !(await isKnown(user))) throw notFound('profile')
    return profile
  }

  async function isKnown(user: UserId): Promise<boolean> {
    const row = await queries.findUser(db, user)
    return row !== undefined && row.deactivated_at === null
  }

  async function changed(user: UserId, name: string): Promise<void> {
    if (name === 'displayname' || name === 'avatar_url')
      await needs.propagate(user, await local(user))
  }

  return {
    get,
    local,
    async field(user, name) {
      const profile = await get(user)
      const value = Object.hasOwn(profile, name) ? profile[name] : undefined
      if (value === undefined) throw notFound('profile field')
      return value
    },
    async set(user, name, value) {
      requireFieldName(name)
      if (isUnset(name, value)) await queries.deleteProfileField(db, user, name)
      else {
        requireValue(name, value)
        const text = JSON.stringify(value)
        if (!(await queries.setProfileField(db, user, name, text, profileBytesMax))) {
          throw new MatrixError(
            'M_PROFILE_TOO_LARGE',
            `profile: larger than ${profileBytesMax} bytes`,
          )
        }
      }
      await changed(user, name)
    },
    async delete(user, name) {
      requireFieldName(name)
      if (await queries.deleteProfileField(db, user, name)) await changed(user, name)
    },
  }
}

function requireFieldName(name: string): void {
  if (Buffer.byteLength(name) > fieldNameBytesMax) {
    throw new MatrixError('M_KEY_TOO_LARGE', `field name: longer than ${fieldNameBytesMax} bytes`)
  }
  if (!fieldName.test(name)) throw invalidParam('keyName', 'not a name of a profile field')
}

/** Clients take back a name or avatar by setting it to nothing. */
function isUnset(name: string, value: Json): boolean {
  const known = name === 'displayname' || name === 'avatar_url'
  return known && (value === null || value === '')
}

function requireValue(name: string, value: Json): void {
  if (name !== 'displayname' && name !== 'avatar_url' && name !== 'm.tz') return
  if (typeof value !== 'string') throw badJson(name, 'not a string')
  const lengthMax = name === 'displayname' ? displayNameLengthMax : avatarLengthMax
  if (value.length > lengthMax) throw invalidParam(name, `longer than ${lengthMax} characters`)
  requireStorable(name, value, profileBytesMax)
}

function parsed(text: string): Json {
  const wrapped: unknown = JSON.parse(`{"value":${text}}`)
  return (isObject(wrapped) ? wrapped['value'] : null) ?? null
}
