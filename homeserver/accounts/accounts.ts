/**
 * Owns the accounts of this server: who exists, their passwords, who is an admin and who has left. Also the
 * one-time secrets that make accounts from outside (registration nonces, the first admin's link).
 */
import { createHash } from 'node:crypto'
import { MatrixError, notFound } from '../../spec/errors.ts'
import {
  type DeviceId,
  isStrictLocalpart,
  isUserId,
  makeUserId,
  parseUserId,
  type ServerName,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import type { LogEntry, LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { deleteAddresses } from './address-queries.ts'
import { createPasswords } from './passwords.ts'
import * as queries from './queries.ts'

/** An account as others see it. */
interface Account {
  readonly user: UserId
  readonly admin: boolean
  readonly guest: boolean
  readonly deactivated: boolean
  readonly erased: boolean
  /** Its sessions are refused until it is not. */
  readonly locked: boolean
  /** It can read, and little else. */
  readonly suspended: boolean
  readonly hasPassword: boolean
  /** Id of the application service that made it. */
  readonly appservice?: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

export interface Registration {
  /** Absent: one is made up (a number for a guest). */
  readonly localpart?: string
  readonly password?: string
  readonly admin?: boolean
  readonly guest?: boolean
  /** Id of the application service that registers. */
  readonly appservice?: string
}

export interface Accounts {
  /** Throws M_USER_IN_USE, M_INVALID_USERNAME, M_EXCLUSIVE, or what the password policy says. */
  register(registration: Registration): Promise<UserId>
  /** Throws what `register` would throw for this localpart. */
  checkAvailable(localpart: string): Promise<void>
  find(user: UserId): Promise<Account | undefined>
  /** Ends no session; see Sessions.logoutAll. */
  setPassword(user: UserId, password: string): Promise<void>
  /** False for a wrong password, an unknown or a deactivated user: all take equally long. */
  verifyPassword(user: UserId, password: string): Promise<boolean>
  /** Ends every session, drops keys and private data, and leaves all rooms soon after. Nobody can take the name again. */
  deactivate(user: UserId, options: { erase: boolean }): Promise<void>
  isAdmin(user: UserId): Promise<boolean>
  setAdmin(user: UserId, admin: boolean): Promise<void>
  /** Takes a thing from an account for a while, or gives it back; in force in every process with the log. */
  restrict(user: UserId, how: { locked: boolean } | { suspended: boolean }): Promise<void>
  hasAdmin(): Promise<boolean>
  /** A nonce of the shared-secret registration, good once for a minute. */
  createNonce(): Promise<string>
  takeNonce(nonce: string): Promise<boolean>
  /** Token of a one-time link that makes an admin; only its hash is kept. */
  createAdminInvite(): Promise<string>
  checkAdminInvite(token: string): Promise<boolean>
  takeAdminInvite(token: string): Promise<boolean>
}

export interface AccountsNeeds {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly clock: Clock
  readonly random: Random
  readonly serverName: ServerName
  readonly passwordLengthMin?: number
  /** Id of the application service whose exclusive namespace covers the user. */
  readonly exclusiveOwner?: (user: UserId) => string | undefined
  /** Log entries that tell others of devices that are gone. */
  readonly deviceLists: {
    deleted(user: UserId, devices: readonly DeviceId[]): Promise<readonly LogEntry[]>
  }
  readonly jobs: Pick<Jobs, 'row' | 'handle' | 'wake'>
  /** Leaves every room and rejects every invite: a job of a closed account, so it may be called again. */
  readonly leaveRooms: (user: UserId) => Promise<void>
}

/** Leaves the rooms of a closed account. */
const closeJob = 'accounts.close'
const nonceMs = 60_000
const adminInviteMs = 7 * 24 * 3_600_000
const generatedAttemptsMax = 5

export function createAccounts(needs: AccountsNeeds): Accounts {
  const { db, log, clock, random, serverName } = needs
  const passwords = createPasswords({ lengthMin: needs.passwordLengthMin ?? 1 })

  function userIdFor(localpart: string, appservice: string | undefined): UserId {
    if (!isStrictLocalpart(localpart)) {
      throw new MatrixError('M_INVALID_USERNAME', 'username: only a-z, 0-9 and ._=-/+ are allowed')
    }
    if (!isUserId(`@${localpart}:${serverName}`)) {
      throw new MatrixError('M_INVALID_USERNAME', 'username: too long')
    }
    const user = makeUserId(localpart, serverName)
    const owner = needs.exclusiveOwner?.(user)
    if (owner !== undefined && owner !== appservice) {
      throw new MatrixError('M_EXCLUSIVE', 'username: reserved by an application service')
    }
    return user
  }

  function chosenUserId({ localpart = '', appservice }: Registration): UserId {
    const name = appservice === undefined ? localpart.toLowerCase() : localpart
    if (appservice === undefined && /^[0-9]+$/.test(name)) {
      throw new MatrixError('M_INVALID_USERNAME', 'username: numbers are for guests')
    }
    return userIdFor(name, appservice)
  }

  async function insert(user: UserId, registration: Registration): Promise<boolean> {
    const { password, admin = false, guest = false, appservice } = registration
    return await queries.insertUser(db, {
      user_id: user,
      password_hash: password === undefined ? null : await passwords.hash(password),
      created_at: clock.now(),
      admin,
      guest,
      appservice: appservice ?? null,
    })
  }

  async function registerGenerated(registration: Registration): Promise<UserId> {
    for (let attempt = 0; attempt < generatedAttemptsMax; attempt++) {
      const name = registration.guest
        ? String(await queries.nextGuestNumber(db))
        : random.text(12, 'abcdefghijklmnopqrstuvwxyz')
      const user = userIdFor(name, registration.appservice)
      if (await insert(user, registration)) return user
    }
    throw new MatrixError('M_UNKNOWN', 'no free name found')
  }

  async function change(
    user: UserId,
    row: JsonObject,
    tables: Readonly<Record<string, readonly JsonObject[]>> = {},
    more: readonly LogEntry[] = [],
  ): Promise<void> {
    if ((await queries.findUser(db, user)) === undefined) throw notFound('user')
    const all = { user_change: [{ user_id: user, ...row }], ...tables }
    const ref = `sessions:${user}`
    const first: LogEntry = { kind: 'invalidate', user, ref, payload: undefined, tables: all }
    await writeDone(log, { entries: [first, ...more] })
  }

  needs.jobs.handle(closeJob, async ({ payload }) => {
    const user = parseUserId(payload['user'])
    await deleteAddresses(db, user)
    await needs.leaveRooms(user)
    if (payload['erase'] === true) await queries.deleteProfile(db, user)
    return undefined
  })

  return {
    async register(registration) {
      if (registration.localpart === undefined) return await registerGenerated(registration)
      const user = chosenUserId(registration)
      if ((await queries.findUser(db, user)) || !(await insert(user, registration))) throw inUse()
      return user
    },
    async checkAvailable(localpart) {
      if (await queries.findUser(db, chosenUserId({ localpart }))) throw inUse()
    },
    async find(user) {
      const row = await queries.findUser(db, user)
      return row && accountOf(row)
    },
    async setPassword(user, password) {
      await change(user, { password_hash: await passwords.hash(password) })
    },
    async verifyPassword(user, password) {
      const row = await queries.findUser(db, user)
      const stored = row?.deactivated_at === null ? (row.password_hash ?? undefined) : undefined
      return await passwords.matches(password, stored)
    },
    async deactivate(user, { erase }) {
      const devices = (await queries.devicesOf(db, [user])).map((row) => row.device_id)
      const all = [{ user_id: user }]
      const jobs = [needs.jobs.row(closeJob, { user, erase })]
      const dropped = {
        session_end: all,
        device_keys_drop: all,
        pusher_drop: all,
        backup_drop: all,
      }
      const tables = { ...dropped, jobs }
      const row = { deactivated_at: clock.now(), erased: erase }
      await change(user, row, tables, await needs.deviceLists.deleted(user, devices))
      needs.jobs.wake()
    },
    isAdmin: async (user) => (await queries.findUser(db, user))?.admin === true,
    setAdmin: async (user, admin) => await change(user, { admin }),
    async restrict(user, how) {
      await change(user, {}, { user_restriction: [{ user_id: user, ...how }] })
    },
    hasAdmin: () => queries.hasAdmin(db),
    async createNonce() {
      await queries.deleteExpired(db, clock.now())
      const nonce = random.text(64)
      await queries.insertNonce(db, nonce, clock.now() + nonceMs)
      return nonce
    },
    takeNonce: (nonce) => queries.takeNonce(db, nonce, clock.now()),
    async createAdminInvite() {
      const token = random.text(43)
      const createdAt = clock.now()
      await queries.insertAdminInvite(db, {
        hash: hashOf(token),
        createdAt,
        expiresAt: createdAt + adminInviteMs,
      })
      return token
    },
    checkAdminInvite: (token) => queries.findAdminInvite(db, hashOf(token), clock.now()),
    takeAdminInvite: (token) => queries.takeAdminInvite(db, hashOf(token), clock.now()),
  }
}

function inUse(): MatrixError {
  return new MatrixError('M_USER_IN_USE', 'username: already taken')
}

function accountOf(row: queries.UserRow): Account {
  return {
    user: row.user_id,
    admin: row.admin,
    guest: row.guest,
    deactivated: row.deactivated_at !== null,
    erased: row.erased,
    locked: row.locked,
    suspended: row.suspended,
    hasPassword: row.password_hash !== null,
    createdAt: row.created_at,
    ...(row.appservice === null ? {} : { appservice: row.appservice }),
  }
}

/** sha256, url-safe: what is stored of a secret that the server itself made. */
export function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url')
}
