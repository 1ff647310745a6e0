/**
 * Mail addresses of users: proved by a link in a mail, used to confirm a registration and to choose a new password.
 * Owns `user_addresses`, `address_sessions` and `address_bindings`. Nobody learns here whether an address has an
 * account: whoever asks gets the same answer, and what is so stands in the mail.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information}
 */
import { MatrixError } from '../../spec/errors.ts'
import type { ServerName, UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import type { Identity } from '../ports.ts'
import { hashOf } from './accounts.ts'
import * as queries from './address-queries.ts'
import { cleanAddress } from './mail-address.ts'
import type { Mailer } from './mailer.ts'

/** What an address is proved for. */
export type Purpose = 'register' | 'add' | 'password'

/** What a client keeps of a session, to show that it was the one to open it. */
export interface Credentials {
  readonly sid: string
  readonly clientSecret: string
}

export interface Address {
  readonly medium: string
  readonly address: string
}

export interface OwnedAddress extends Address {
  /** Milliseconds since the epoch. */
  readonly validatedAt: number
  readonly addedAt: number
}

export interface TokenRequest {
  readonly purpose: Purpose
  readonly email: string
  readonly clientSecret: string
  /** A mail is sent again only for a higher number. */
  readonly sendAttempt: number
  readonly nextLink?: string
}

export interface Addresses {
  /** Whether this server sends mail. */
  readonly enabled: boolean
  /** Sends a link. @throws MatrixError M_THREEPID_DENIED without mail, M_INVALID_PARAM, M_UNKNOWN (502) when it cannot be sent */
  requestToken(request: TokenRequest): Promise<{ readonly sid: string }>
  /** What the link's page does. Undefined for a link that is not right, or too old. */
  submitToken(
    credentials: Credentials,
    token: string,
  ): Promise<{ readonly address: string; readonly nextLink?: string } | undefined>
  /** The address that a session has proved, for one of these purposes. */
  validated(
    credentials: Credentials,
    purposes: readonly Purpose[],
  ): Promise<(Address & { readonly validatedAt: number }) | undefined>
  /** Notes that an address has confirmed an interactive authentication, of which later requests know only the session. */
  confirm(credentials: Credentials, uiaSession: string): Promise<void>
  confirmedBy(uiaSession: string): Promise<(Address & { readonly validatedAt: number }) | undefined>
  of(user: UserId): Promise<readonly OwnedAddress[]>
  ownerOf(address: Address): Promise<UserId | undefined>
  /** @throws MatrixError M_THREEPID_IN_USE */
  add(user: UserId, address: Address & { readonly validatedAt: number }): Promise<void>
  /** Lets others find the user by an address that an identity server has validated. @throws what that server says */
  bind(user: UserId, at: IdentityCredentials): Promise<void>
  /** False when an identity server did not forget it, or none is known. */
  unbind(user: UserId, address: Address, server?: ServerName): Promise<boolean>
  /** Also unbinds it, as `unbind` says. */
  delete(user: UserId, address: Address, server?: ServerName): Promise<boolean>
  deleteAll(user: UserId): Promise<void>
}

/** A session of an identity server, and how to ask that server. */
export interface IdentityCredentials extends Credentials {
  readonly server: ServerName
  readonly accessToken: string
}

interface Needs {
  readonly db: Database
  readonly clock: Pick<Clock, 'now'>
  readonly random: Random
  readonly mailer: Mailer
  readonly identity: Pick<Identity, 'bind' | 'unbind'>
}

export const addressLimits = {
  /** How long a link is good, and what it proved. */
  sessionMs: 3_600_000,
  tokenLength: 32,
  sidLength: 24,
  addressesPerUser: 20,
} as const

export function createAddresses(needs: Needs): Addresses {
  const { db, clock, random, mailer, identity } = needs

  async function find({ sid, clientSecret }: Credentials) {
    const row = await queries.findAddressSession(db, sid, clock.now())
    return row?.client_secret === clientSecret ? row : undefined
  }

  async function unbind(user: UserId, { medium, address }: Address, server?: ServerName) {
    const known = (await queries.bindingsOf(db, user)).filter(
      (one) =>
        one.medium === medium &&
        one.address === address &&
        (server === undefined || one.id_server === server),
    )
    for (const one of known) {
      if (!(await identity.unbind(one.id_server, { user, medium, address }))) return false
      await queries.deleteBinding(db, user, one)
    }
    return known.length > 0
  }

  return {
    enabled: mailer.enabled,
    async requestToken({ purpose, email, clientSecret, sendAttempt, nextLink }) {
      if (!mailer.enabled) throw denied()
      const address = cleanAddress(email)
      const asked = { client_secret: clientSecret, purpose, address }
      const known = await queries.findAsked(db, asked, clock.now())
      if (known && known.send_attempt >= sendAttempt) return { sid: known.session_id }
      const token = random.text(addressLimits.tokenLength)
      const sid = await queries.putAddressSession(
        db,
        {
          ...asked,
          session_id: known?.session_id ?? random.text(addressLimits.sidLength),
          token_hash: hashOf(token),
          send_attempt: sendAttempt,
          next_link: nextLink ?? null,
          expires_at: clock.now() + addressLimits.sessionMs,
        },
        clock.now(),
      )
      const owner = (await queries.findAddress(db, 'email', address))?.user_id
      await mailer.send(address, { purpose, owner, link: { sid, clientSecret, token } })
      return { sid }
    },
    async submitToken(credentials, token) {
      const { sid: id, clientSecret: secret } = credentials
      const right = { id, secret, hash: hashOf(token), now: clock.now() }
      if (!(await queries.validateAddressSession(db, right))) return undefined
      const row = await find(credentials)
      if (row === undefined) return undefined
      const { address, next_link: nextLink } = row
      return { address, ...(nextLink !== null && { nextLink }) }
    },
    async validated(credentials, purposes) {
      const row = await find(credentials)
      return row && purposes.some((one) => one === row.purpose) ? proved(row) : undefined
    },
    confirm: ({ sid }, uiaSession) => queries.noteUia(db, sid, uiaSession),
    async confirmedBy(uiaSession) {
      const row = await queries.findByUia(db, uiaSession)
      return row && proved(row)
    },
    async of(user) {
      const rows = await queries.addressesOf(db, user)
      return rows.map(({ medium, address, validated_at, added_at }) => ({
        ...{ medium, address },
        ...{ validatedAt: validated_at, addedAt: added_at },
      }))
    },
    ownerOf: async ({ medium, address }) =>
      isKeepable(address) ? (await queries.findAddress(db, medium, address))?.user_id : undefined,
    async add(user, { medium, address, validatedAt }) {
      const owned = await queries.addressesOf(db, user)
      if (owned.length >= addressLimits.addressesPerUser) throw tooMany()
      const row = { medium, address, user_id: user, validated_at: validatedAt }
      if (!(await queries.insertAddress(db, { ...row, added_at: clock.now() }))) throw inUse()
    },
    async bind(user, at) {
      const bound = await identity.bind({ name: at.server, accessToken: at.accessToken }, user, at)
      await queries.insertBinding(db, user, { ...bound, id_server: at.server })
    },
    unbind,
    async delete(user, address, server) {
      if (!isKeepable(address.address)) return false
      const unbound = await unbind(user, address, server)
      await queries.deleteAddresses(db, user, address)
      return unbound
    },
    deleteAll: (user) => queries.deleteAddresses(db, user),
  }
}

/** Nobody has an address that the database cannot hold. */
function isKeepable(address: string): boolean {
  return !/[\0\p{Surrogate}]/u.test(address)
}

function proved(row: Pick<queries.AddressSessionRow, 'address' | 'validated_at'>) {
  const { address, validated_at: validatedAt } = row
  return validatedAt === null ? undefined : { medium: 'email', address, validatedAt }
}

function denied(): MatrixError {
  return new MatrixError('M_THREEPID_DENIED', 'This server sends no mail', { status: 403 })
}

function inUse(): MatrixError {
  return new MatrixError('M_THREEPID_IN_USE', 'The address belongs to an account')
}

function tooMany(): MatrixError {
  const message = `more than ${addressLimits.addressesPerUser} addresses`
  return new MatrixError('M_LIMIT_EXCEEDED', message, { fields: { retry_after_ms: 60_000 } })
}
