/**
 * Owns the public keys of devices and users: identity keys, one-time and fallback keys, cross-signing keys and the
 * signatures on them. {@link https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption}
 */
import type { DeviceId, ServerName, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Remote } from '../ports.ts'
import type { Memberships, Requester } from '../rooms/rooms.ts'
import type { LogEntry, LogWriter, Tail } from '../stream/log.ts'
import { createClaims } from './claims.ts'
import { createCrossSigning } from './cross-signing.ts'
import type { DeviceLists } from './device-lists.ts'
import { createKeyCounts } from './key-counts.ts'
import { createKeyQueries } from './key-queries.ts'
import type { ListChanges } from './list-changes.ts'
import { createListRefresh, type ListRefresh } from './list-refresh.ts'
import { createRemoteKeys } from './remote-keys.ts'
import type { SigningKeys } from './signed-keys.ts'
import { createUploads } from './uploads.ts'

export interface Encryption {
  /** Answers the counts of one-time keys. Throws M_INVALID_PARAM for keys that are not the requester's device's. */
  upload(who: Requester, body: JsonObject): Promise<Readonly<Record<string, number>>>
  /** What a write of such keys of a device consists of. Throws as `upload`. */
  uploadEntries(user: UserId, device: DeviceId, body: JsonObject): Promise<readonly LogEntry[]>
  /** The answer of POST /keys/query. `deviceKeys` maps users to lists of devices; an empty list means all. */
  query(who: Requester, deviceKeys: JsonObject): Promise<JsonObject>
  /** The answer of POST /keys/claim. `oneTimeKeys` maps users to devices to algorithms. */
  claim(who: Requester, oneTimeKeys: JsonObject): Promise<JsonObject>
  /** One-time keys left, by algorithm; always names signed_curve25519. No query while nothing changes. */
  counts(user: UserId, device: DeviceId): Promise<Readonly<Record<string, number>>>
  /** Algorithms whose fallback key nobody has used yet. */
  unusedFallback(user: UserId, device: DeviceId): Promise<readonly string[]>
  /** Are these new keys for a user who has a master key: the border then asks for authentication. */
  signingNeedsAuth(user: UserId, keys: SigningKeys): Promise<boolean>
  /** Throws M_INVALID_SIGNATURE, M_INVALID_PARAM, M_MISSING_PARAM, M_FORBIDDEN. */
  uploadSigning(who: Requester, keys: SigningKeys): Promise<void>
  /** The answer of POST /keys/signatures/upload. */
  uploadSignatures(who: Requester, signatures: JsonObject): Promise<JsonObject>
  /** Whose keys to ask for anew because of what happened with from < position <= to. */
  changes(user: UserId, from: number, to: number): Promise<ListChanges>
  /** Answers for other servers. */
  localDevicesOf(user: UserId): Promise<JsonObject>
  localQuery(deviceKeys: JsonObject): Promise<JsonObject>
  localClaim(oneTimeKeys: JsonObject): Promise<JsonObject>
  /** Asks again for lists of other servers’ users; runs once it is started. */
  readonly listRefresh: ListRefresh
}

export interface EncryptionNeeds {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe' | 'position'>
  readonly deviceLists: DeviceLists
  readonly memberships: Memberships
  readonly remote: Pick<Remote, 'queryKeys' | 'claimKeys' | 'userDevices'>
  readonly serverName: ServerName
  readonly clock: Clock
  readonly logger: Logger
  /** Display names of devices of local users. */
  readonly deviceNames: (
    users: readonly UserId[],
  ) => Promise<ReadonlyMap<UserId, ReadonlyMap<DeviceId, string | undefined>>>
}

export function createEncryption(needs: EncryptionNeeds): Encryption {
  const counts = createKeyCounts(needs)
  const uploads = createUploads({ ...needs, counts: counts.exact })
  const remoteKeys = createRemoteKeys(needs)
  const queries = createKeyQueries({ ...needs, remoteKeys })
  const listRefresh = createListRefresh({ ...needs, remoteKeys })
  const claims = createClaims(needs)
  const crossSigning = createCrossSigning(needs)
  return {
    upload: uploads.upload,
    uploadEntries: uploads.entriesOf,
    query: (who, deviceKeys) => queries.query(who.user, deviceKeys),
    claim: (_who, oneTimeKeys) => claims.claim(oneTimeKeys),
    counts: counts.counts,
    unusedFallback: counts.unusedFallback,
    signingNeedsAuth: crossSigning.needsAuth,
    uploadSigning: crossSigning.upload,
    uploadSignatures: crossSigning.uploadSignatures,
    changes: needs.deviceLists.changedFor,
    localDevicesOf: queries.localDevicesOf,
    localQuery: queries.localQuery,
    localClaim: claims.localClaim,
    listRefresh,
  }
}
