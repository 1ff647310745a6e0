import { canonicalJson } from '../../spec/canonical-json.ts'
import { invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
import { type DeviceId, isDeviceId, isUserId, type UserId } from '../../spec/ids.ts'
import { isObject, type Json, type JsonObject, objectAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { storedObject } from '../database/stored-text.ts'
import type { Requester } from '../rooms/rooms.ts'
import type { LogEntry, LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import type { DeviceLists } from './device-lists.ts'
import { signaturePrefix } from './list-changes.ts'
import * as queries from './queries.ts'
import { isSignedBy, publicPart, type SigningKeys, unsignedForm } from './signed-keys.ts'

/** A signature that was checked, with the signed key as others will see it. */
interface Accepted {
  readonly target: UserId
  readonly keyId: string
  readonly signerKey: string
  readonly signature: string
  readonly device?: { readonly id: DeviceId; readonly keys: JsonObject }
  readonly master?: JsonObject
}

const signaturesMax = 1000
const keyIdBytesMax = 255

/** Signatures that a user makes on own devices and master key and on the master keys of others. */
export function createSignatureUploads(needs: {
  db: Database
  log: Pick<LogWriter, 'write'>
  deviceLists: Pick<DeviceLists, 'changed' | 'signingKeysChanged'>
  stored: (user: UserId) => Promise<SigningKeys>
}) {
  const { db, log, stored } = needs

  /** A signature by the self-signing key on an own device. */
  async function onDevice(user: UserId, device: DeviceId, given: JsonObject): Promise<Accepted> {
    const row = (await queries.deviceKeysOf(db, [user])).find((one) => one.device_id === device)
    if (row === undefined) throw notFound('device')
    const { selfSigning } = await stored(user)
    if (selfSigning === undefined) throw notFound('self-signing key')
    const keys = storedObject(row.keys)
    const accepted = checked(user, user, device, given, keys, publicPart(selfSigning))
    return { ...accepted, device: { id: device, keys: withSignature(keys, user, accepted) } }
  }

  /** Signatures by own devices on the own master key. */
  async function onMaster(user: UserId, master: JsonObject, given: JsonObject): Promise<Accepted> {
    const rows = await queries.deviceKeysOf(db, [user])
    const names = Object.keys(objectAt(objectAt(given, 'signatures') ?? {}, user) ?? {})
    const row = rows.find((one) => names.includes(`ed25519:${one.device_id}`))
    const name = `ed25519:${row?.device_id}`
    const key = row && objectAt(storedObject(row.keys), 'keys')?.[name]
    if (typeof key !== 'string') throw badSignature('not signed by a device of the user')
    const accepted = checked(user, user, publicPart(master), given, master, key, name)
    return { ...accepted, master: withSignature(master, user, accepted) }
  }

  /** A signature by the user-signing key on somebody else's master key. */
  async function onOther(
    user: UserId,
    target: UserId,
    keyId: string,
    given: JsonObject,
  ): Promise<Accepted> {
    const { master } = await stored(target)
    if (master === undefined || publicPart(master) !== keyId) throw notFound('master key')
    const { userSigning } = await stored(user)
    if (userSigning === undefined) throw notFound('user-signing key')
    return checked(user, target, keyId, given, master, publicPart(userSigning))
  }

  async function accept(
    user: UserId,
    target: string,
    keyId: string,
    given: Json | undefined,
  ): Promise<Accepted> {
    if (!isUserId(target)) throw invalidParam('user', 'not a user id')
    if (!isObject(given) || Buffer.byteLength(keyId) > keyIdBytesMax)
      throw invalidParam('key', 'not a signed key')
    if (target !== user) return await onOther(user, target, keyId, given)
    const { master } = await stored(user)
    if (master !== undefined && publicPart(master) === keyId)
      return await onMaster(user, master, given)
    if (!isDeviceId(keyId)) throw notFound('key')
    return await onDevice(user, keyId, given)
  }

  async function entriesOf(user: UserId, accepted: readonly Accepted[]): Promise<LogEntry[]> {
    const devices = accepted.flatMap(({ device }) =>
      device ? [{ device: device.id, keys: device.keys }] : [],
    )
    const entries = [...(await needs.deviceLists.changed(user, devices))]
    const master = accepted.find((one) => one.master)?.master
    const { selfSigning } = await stored(user)
    if (master) {
      const open = selfSigning === undefined ? { master } : { master, selfSigning }
      entries.push(...(await needs.deviceLists.signingKeysChanged(user, open)))
    }
    for (const target of new Set(accepted.map((one) => one.target))) {
      if (target !== user) entries.push(signedEntry(user, target))
    }
    return entries
  }

  return async function uploadSignatures(who: Requester, body: JsonObject): Promise<JsonObject> {
    const accepted: Accepted[] = []
    const failures: Record<string, Record<string, Json>> = {}
    for (const [target, keyId, given] of signaturesIn(body)) {
      try {
        accepted.push(await accept(who.user, target, keyId, given))
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error
        failures[target] = { ...failures[target], [keyId]: error.toJSON() }
      }
    }
    const [first, ...others] = await entriesOf(who.user, accepted)
    if (first) {
      const tables = {
        ...first.tables,
        key_signatures: accepted.map((one) => rowOf(who.user, one)),
      }
      await writeDone(log, { entries: [{ ...first, tables }, ...others] })
    }
    return { failures }
  }
}

function* signaturesIn(body: JsonObject): Iterable<[string, string, Json | undefined]> {
  let count = 0
  for (const [target, keys] of Object.entries(body)) {
    if (!isObject(keys)) throw invalidParam(target, 'not an object')
    for (const [keyId, given] of Object.entries(keys)) {
      count += 1
      if (count > signaturesMax)
        throw new MatrixError('M_TOO_LARGE', `more than ${signaturesMax} signatures`)
      yield [target, keyId, given]
    }
  }
}

/** The given key must be the stored one but for its signatures, and carry a valid one of `signerKey`. */
function checked(
  user: UserId,
  target: UserId,
  keyId: string,
  given: JsonObject,
  stored: JsonObject,
  publicKey: string,
  signerKey = `ed25519:${publicKey}`,
): Accepted {
  if (canonicalJson(unsignedForm(given)) !== canonicalJson(unsignedForm(stored))) {
    throw invalidParam(keyId, 'not the key that is stored')
  }
  if (!isSignedBy(given, user, signerKey, publicKey))
    throw badSignature('the signature is not valid')
  const signature = objectAt(objectAt(given, 'signatures') ?? {}, user)?.[signerKey]
  return { target, keyId, signerKey, signature: String(signature) }
}

function withSignature(
  key: JsonObject,
  user: UserId,
  { signerKey, signature }: Accepted,
): JsonObject {
  const signatures = objectAt(key, 'signatures') ?? {}
  return {
    ...key,
    signatures: {
      ...signatures,
      [user]: { ...objectAt(signatures, user), [signerKey]: signature },
    },
  }
}

function signedEntry(user: UserId, target: UserId): LogEntry {
  const tables = { signature_change: [{ user_id: user, target_user_id: target }] }
  return {
    kind: 'deviceList',
    user,
    ref: `${signaturePrefix}${target}`,
    payload: undefined,
    tables,
  }
}

function rowOf(user: UserId, { target, keyId, signerKey, signature }: Accepted): JsonObject {
  return {
    target_user_id: target,
    target_key_id: keyId,
    signer_user_id: user,
    signer_key_id: signerKey,
    signature,
  }
}

function badSignature(reason: string): MatrixError {
  return new MatrixError('M_INVALID_SIGNATURE', reason)
}
