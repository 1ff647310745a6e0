/** {@link https://spec.matrix.org/v1.19/client-server-api/#cross-signing} */
import { canonicalJson } from '../../spec/canonical-json.ts'
import { badJson, forbidden, invalidParam, MatrixError } from '../../spec/errors.ts'
import type { UserId } from '../../spec/ids.ts'
import { isObject, type JsonObject, objectAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { storedObject } from '../database/stored-text.ts'
import type { Requester } from '../rooms/rooms.ts'
import type { LogEntry, LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import type { DeviceLists } from './device-lists.ts'
import * as queries from './queries.ts'
import { createSignatureUploads } from './signature-uploads.ts'
import { isSignedBy, publicPart, type SigningKeys } from './signed-keys.ts'

export interface CrossSigningNeeds {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly deviceLists: Pick<DeviceLists, 'changed' | 'signingKeysChanged'>
}

const keyBytesMax = 65_536

export function createCrossSigning(needs: CrossSigningNeeds) {
  const { db, log } = needs

  async function stored(user: UserId): Promise<SigningKeys> {
    const keys = new Map(
      (await queries.crossSigningKeysOf(db, [user])).map((row) => [
        row.usage,
        storedObject(row.key),
      ]),
    )
    return signingKeys(keys.get('master'), keys.get('self_signing'), keys.get('user_signing'))
  }

  async function needsAuth(user: UserId, keys: SigningKeys): Promise<boolean> {
    const before = await stored(user)
    if (before.master === undefined) return false
    return !(
      isSame(keys.master, before.master) &&
      isSame(keys.selfSigning, before.selfSigning) &&
      isSame(keys.userSigning, before.userSigning)
    )
  }

  async function requireNoDevice(user: UserId, keys: readonly JsonObject[]): Promise<void> {
    const devices = new Set<string>(
      (await queries.deviceKeysOf(db, [user])).map((row) => row.device_id),
    )
    if (keys.some((key) => devices.has(publicPart(key))))
      throw forbidden('the key id is that of a device')
  }

  async function upload(who: Requester, given: SigningKeys): Promise<void> {
    const { user } = who
    const before = await stored(user)
    const master = given.master ?? before.master
    if (master === undefined)
      throw new MatrixError('M_MISSING_PARAM', 'master_key: no master key is known')
    const { master: newMaster, selfSigning, userSigning } = given
    if (newMaster) requireKey('master_key', newMaster, user, 'master')
    if (selfSigning) requireSigned('self_signing_key', selfSigning, user, 'self_signing', master)
    if (userSigning) requireSigned('user_signing_key', userSigning, user, 'user_signing', master)
    const uploaded = [newMaster, selfSigning, userSigning].filter(isObject)
    if (uploaded.every((key) => isStored(key, before))) return
    await requireNoDevice(user, uploaded)
    const rows = [
      ...keyRow(user, 'master', newMaster),
      ...keyRow(user, 'self_signing', selfSigning),
      ...keyRow(user, 'user_signing', userSigning),
    ]
    const open = signingKeys(master, selfSigning ?? before.selfSigning, undefined)
    await writeDone(log, {
      entries: withRows(await needs.deviceLists.signingKeysChanged(user, open), rows),
    })
  }

  return { needsAuth, upload, uploadSignatures: createSignatureUploads({ ...needs, stored }) }
}

function withRows(entries: readonly LogEntry[], rows: readonly JsonObject[]): LogEntry[] {
  return entries.map((entry, n) =>
    n === 0 ? { ...entry, tables: { ...entry.tables, cross_signing_keys: rows } } : entry,
  )
}

function keyRow(user: UserId, usage: string, key: JsonObject | undefined): JsonObject[] {
  return key === undefined ? [] : [{ user_id: user, usage, key: JSON.stringify(key) }]
}

function signingKeys(
  master: JsonObject | undefined,
  selfSigning: JsonObject | undefined,
  userSigning: JsonObject | undefined,
): SigningKeys {
  return {
    ...(master === undefined ? {} : { master }),
    ...(selfSigning === undefined ? {} : { selfSigning }),
    ...(userSigning === undefined ? {} : { userSigning }),
  }
}

/** Nothing new: not given, or the public key that is stored. */
function isSame(given: JsonObject | undefined, before: JsonObject | undefined): boolean {
  return given === undefined || (before !== undefined && publicPart(given) === publicPart(before))
}

/** A repetition: nobody has to be told. */
function isStored(key: JsonObject, { master, selfSigning, userSigning }: SigningKeys): boolean {
  const text = canonicalJson(key)
  return [master, selfSigning, userSigning].some((one) => one && canonicalJson(one) === text)
}

/** One Ed25519 key of this user, named by itself, for this use. */
function requireKey(field: string, key: JsonObject, user: UserId, usage: string): void {
  if (JSON.stringify(key).length > keyBytesMax) throw badJson(field, 'too large')
  if (key['user_id'] !== user) throw invalidParam(`${field}.user_id`, 'not the user of this token')
  const usages = key['usage']
  if (!Array.isArray(usages) || !usages.includes(usage))
    throw invalidParam(`${field}.usage`, `not for ${usage}`)
  const names = Object.keys(objectAt(key, 'keys') ?? {})
  if (names.length !== 1 || names[0] !== `ed25519:${publicPart(key)}` || publicPart(key) === '') {
    throw invalidParam(`${field}.keys`, 'not exactly one Ed25519 key that is its own id')
  }
}

function requireSigned(
  field: string,
  key: JsonObject,
  user: UserId,
  usage: string,
  master: JsonObject,
): void {
  requireKey(field, key, user, usage)
  const name = `ed25519:${publicPart(master)}`
  if (!isSignedBy(key, user, name, publicPart(master))) {
    throw new MatrixError('M_INVALID_SIGNATURE', `${field}: not signed by the master key`)
  }
}
