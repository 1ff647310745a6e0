/**
 * Owns devices and the tokens that speak for them. A token is random, only its hash is stored, and what it stands
 * for is cached in every process; ending it goes through the log, so that it is refused everywhere within a second.
 */
import { MatrixError, notFound, userLocked } from '../../spec/errors.ts'
import { type DeviceId, isDeviceId, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable } from '../database/stored-text.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import type { Requester } from '../rooms/rooms.ts'
import type { LogEntry, LogWriter, Tail } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { createTailedCache } from '../stream/tailed-cache.ts'
import { hashOf } from './accounts.ts'
import { deletedSettings } from './device-settings.ts'
import { createLastSeen, type Seen } from './last-seen.ts'
import * as queries from './queries.ts'

interface LoginRequest {
  readonly user: UserId
  /** An existing device loses the tokens it had; absent: a new one with a made-up id. */
  readonly deviceId?: DeviceId
  /** Of a new device only. */
  readonly initialDisplayName?: string
  /** The client can refresh: its access tokens are short-lived. */
  readonly refreshToken?: boolean
}

export interface Tokens {
  readonly accessToken: string
  readonly refreshToken?: string
  /** Absent: the access token does not expire. */
  readonly expiresInMs?: number
}

export interface Device {
  readonly deviceId: DeviceId
  readonly displayName?: string
  readonly lastSeenIp?: string
  /** Milliseconds since the epoch. */
  readonly lastSeenTs?: number
}

export interface Sessions extends AsyncDisposable {
  /** @throws MatrixError M_USER_LOCKED while the account is locked */
  login(request: LoginRequest): Promise<Tokens & { readonly deviceId: DeviceId }>
  /** Undefined for an unknown token; throws M_UNKNOWN_TOKEN with soft_logout for one that can be refreshed. */
  authenticate(token: string): Promise<Requester | undefined>
  logout(who: Requester): Promise<void>
  /** Ends every device of a user but `except`. */
  logoutAll(user: UserId, except?: DeviceId): Promise<void>
  /** Throws M_UNKNOWN_TOKEN for a refresh token that is unknown or was replaced by one in use, M_USER_LOCKED. */
  refresh(refreshToken: string): Promise<Tokens>
  devices(user: UserId): Promise<readonly Device[]>
  /** Throws M_NOT_FOUND. */
  device(user: UserId, device: DeviceId): Promise<Device>
  renameDevice(user: UserId, device: DeviceId, displayName: string | undefined): Promise<void>
  /** Unknown ids are passed over. */
  deleteDevices(user: UserId, devices: readonly DeviceId[]): Promise<void>
  /** Display names of the devices of these users. */
  deviceNames(
    users: readonly UserId[],
  ): Promise<ReadonlyMap<UserId, ReadonlyMap<DeviceId, string | undefined>>>
  /** Notes when and from where a device was last heard of; written behind. */
  seen(who: Requester, from: { ip: string; agent: string }): void
}

export interface SessionsNeeds {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe'>
  readonly clock: Clock
  readonly random: Random
  /** Log entries that tell others of devices that are gone or have another name. */
  readonly deviceLists: {
    deleted(user: UserId, devices: readonly DeviceId[]): Promise<readonly LogEntry[]>
    renamed(user: UserId, device: DeviceId): Promise<readonly LogEntry[]>
  }
  /** How long an access token lives that can be refreshed. */
  readonly refreshableTokenMs?: number
}

/** What an access token stands for; `requester` is absent when it stands for nothing. */
interface Session {
  readonly requester?: Requester
  readonly expiresAt?: number
}

const sessionsMax = 100_000
const displayNameBytesMax = 1024
const devicesMax = 2000
const tokenLength = 43

export function createSessions(needs: SessionsNeeds): Sessions {
  const { db, log, clock, random } = needs
  const refreshableMs = needs.refreshableTokenMs ?? 300_000
  const lastSeen = createLastSeen({ db, clock })
  const cache = createTailedCache<Session>({
    tail: needs.tail,
    name: 'sessions',
    entriesMax: sessionsMax,
    load: loadSession,
    groupOf: (session) => session.requester?.user ?? '',
    keep: (session) => session.requester !== undefined,
  })

  async function write(
    user: UserId,
    tables: Record<string, readonly JsonObject[]>,
    more: readonly LogEntry[] = [],
  ) {
    const ref = `sessions:${user}`
    await writeDone(log, {
      entries: [{ kind: 'invalidate', user, ref, payload: undefined, tables }, ...more],
    })
  }

  async function loadSession(hash: string): Promise<Session> {
    const row = await queries.findToken(db, hash)
    if (row === undefined || row.deactivated) return {}
    // The first use of what a refresh token was exchanged for ends that token and its access token.
    if (row.previous_hash !== null) {
      await write(row.user_id, { session_rotated: [{ previous_hash: row.previous_hash }] })
    }
    const requester = {
      user: row.user_id,
      device: row.device_id,
      guest: row.guest,
      admin: row.admin,
      ...restrictionOf(row),
    }
    return row.expires_at === null ? { requester } : { requester, expiresAt: row.expires_at }
  }

  async function requireUnlocked(user: UserId): Promise<void> {
    if ((await queries.findUser(db, user))?.locked === true) throw userLocked()
  }

  function newTokens(refreshable: boolean): Tokens & { row: JsonObject } {
    const accessToken = `fm_${random.text(tokenLength)}`
    const row = { token_hash: hashOf(accessToken), at: clock.now() }
    if (!refreshable) return { accessToken, row }
    const refreshToken = `fmr_${random.text(tokenLength)}`
    const expiring = { refresh_hash: hashOf(refreshToken), expires_at: clock.now() + refreshableMs }
    return { accessToken, refreshToken, expiresInMs: refreshableMs, row: { ...row, ...expiring } }
  }

  async function end(user: UserId, devices: readonly DeviceId[]): Promise<void> {
    if (devices.length === 0) return
    const rows = devices.map((device) => ({ user_id: user, device_id: device }))
    const tables = { session_end: rows, device_keys_drop: rows, pusher_drop: rows }
    const settings = await deletedSettings(db, user, devices)
    await write(user, tables, [...(await needs.deviceLists.deleted(user, devices)), ...settings])
  }

  async function deviceIds(user: UserId): Promise<DeviceId[]> {
    return (await queries.devicesOf(db, [user])).map((row) => row.device_id)
  }

  async function device(user: UserId, id: DeviceId): Promise<Device> {
    const found = (await queries.devicesOf(db, [user])).find((row) => row.device_id === id)
    if (found === undefined) throw notFound('device')
    return deviceOf(found)
  }

  return {
    async login({ user, deviceId, initialDisplayName, refreshToken = false }) {
      const device = deviceId ?? newDeviceId(random)
      if (!isDeviceId(device))
        throw new MatrixError('M_INVALID_PARAM', 'device_id: not a device id')
      requireStorable('device_id', device, 255)
      const name = initialDisplayName ?? null
      if (name !== null) requireStorable('initial_device_display_name', name, displayNameBytesMax)
      await requireUnlocked(user)
      const known = await deviceIds(user)
      if (known.length >= devicesMax && !known.includes(device)) {
        throw new MatrixError('M_RESOURCE_LIMIT_EXCEEDED', `more than ${devicesMax} devices`, {
          status: 403,
        })
      }
      const { row, ...tokens } = newTokens(refreshToken)
      const start = { user_id: user, device_id: device, display_name: name, ...row }
      await write(user, { session_start: [start] })
      return { ...tokens, deviceId: device }
    },
    async authenticate(token) {
      const { requester, expiresAt } = await cache.get(hashOf(token))
      if (expiresAt !== undefined && expiresAt <= clock.now()) {
        throw new MatrixError('M_UNKNOWN_TOKEN', 'the access token has expired', {
          fields: { soft_logout: true },
        })
      }
      return requester
    },
    async logout(who) {
      if (who.device !== undefined) await end(who.user, [who.device])
    },
    async logoutAll(user, except) {
      await end(
        user,
        (await deviceIds(user)).filter((id) => id !== except),
      )
    },
    async refresh(refreshToken) {
      const previous = hashOf(refreshToken)
      const found = await queries.findRefreshToken(db, previous)
      if (found === undefined) throw new MatrixError('M_UNKNOWN_TOKEN', 'unknown refresh token')
      if (found.locked) throw userLocked()
      const { row, ...tokens } = newTokens(true)
      const next = {
        user_id: found.user_id,
        device_id: found.device_id,
        previous_hash: previous,
        ...row,
      }
      const rotated = found.previous_hash === null ? [] : [{ previous_hash: found.previous_hash }]
      await write(found.user_id, { session_rotated: rotated, session_refresh: [next] })
      return tokens
    },
    devices: async (user) => (await queries.devicesOf(db, [user])).map(deviceOf),
    device,
    async renameDevice(user, id, displayName) {
      await device(user, id)
      if (displayName === undefined) return
      requireStorable('display_name', displayName, displayNameBytesMax)
      await queries.renameDevice(db, user, id, displayName)
      const entries = await needs.deviceLists.renamed(user, id)
      if (entries.length > 0) await writeDone(log, { entries })
    },
    async deleteDevices(user, devices) {
      const known = new Set(await deviceIds(user))
      await end(
        user,
        [...new Set(devices)].filter((id) => known.has(id)),
      )
    },
    async deviceNames(users) {
      const names = new Map<UserId, Map<DeviceId, string | undefined>>(
        users.map((user) => [user, new Map()]),
      )
      for (const row of await queries.devicesOf(db, users)) {
        names.get(row.user_id)?.set(row.device_id, row.display_name ?? undefined)
      }
      return names
    },
    seen(who, from) {
      if (who.device !== undefined) lastSeen.note(who.user, who.device, from)
    },
    [Symbol.asyncDispose]: () => lastSeen[Symbol.asyncDispose](),
  }

  function deviceOf(row: queries.DeviceRow): Device {
    const recent: Seen | undefined = lastSeen.find(row.user_id, row.device_id)
    const ip = recent?.ip ?? row.last_seen_ip
    const at = recent?.at ?? row.last_seen_at
    return {
      deviceId: row.device_id,
      ...(row.display_name === null ? {} : { displayName: row.display_name }),
      ...(ip === null ? {} : { lastSeenIp: ip }),
      ...(at === null ? {} : { lastSeenTs: at }),
    }
  }
}

function restrictionOf({ locked, suspended }: queries.TokenRow): Pick<Requester, 'restriction'> {
  if (locked) return { restriction: 'locked' }
  return suspended ? { restriction: 'suspended' } : {}
}

function newDeviceId(random: Random): string {
  return random.text(10, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')
}
