/** Our own keys, and those of others as a notary. {@link https://spec.matrix.org/v1.19/server-server-api/#publishing-keys} */
import type { KeysOfServer, Published, RemoteKeys } from '../../homeserver/keys/remote-keys.ts'
import type { Clock } from '../../homeserver/platform/clock.ts'
import {
  getQueriedServerKeys,
  getServerKeys,
  notaryServersMax,
  queryServerKeys,
} from '../../spec/api/federation/keys.ts'
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import { signJson } from '../../spec/crypto/sign-json.ts'
import { MatrixError } from '../../spec/errors.ts'
import { isServerName, type ServerName } from '../../spec/ids.ts'
import { isObject, type JsonObject, objectAt } from '../../spec/json.ts'
import type { FetchingKeyRing } from '../key-ring.ts'
import { JsonText, openRoute, type Route } from '../router.ts'

interface Needs {
  readonly serverName: ServerName
  readonly key: SigningKey
  /** Our own keys by key id, old ones too. */
  readonly own: KeysOfServer
  readonly store: RemoteKeys
  readonly keys: FetchingKeyRing
  readonly clock: Clock
}

/** How long others may keep our keys, and after how long the object is signed anew. */
const validMs = 48 * 3_600_000
const renewMs = 24 * 3_600_000

export function keyRoutes(needs: Needs): Route[] {
  const published = ownKeys(needs)

  async function query(wanted: ReadonlyMap<ServerName, Wanted>): Promise<JsonText> {
    if (wanted.size > notaryServersMax) {
      throw new MatrixError('M_TOO_LARGE', `more than ${notaryServersMax} servers in one query`)
    }
    const others = [...wanted.keys()].filter((server) => server !== needs.serverName)
    let known = await needs.store.published(others)
    const outdated = others.filter((server) => isOutdated(known.get(server), wanted.get(server)))
    if (outdated.length > 0) {
      await Promise.all(outdated.map((server) => needs.keys.refresh(server)))
      known = await needs.store.published(others)
    }
    const texts = [...known.values()].map(({ json }) => countersigned(json, needs))
    if (wanted.has(needs.serverName)) texts.push(published())
    return new JsonText(`{"server_keys":[${texts.join(',')}]}`)
  }

  return [
    openRoute(getServerKeys, () => new JsonText(published())),
    openRoute(queryServerKeys, ({ body }) => {
      const now = needs.clock.now()
      const wanted = new Map<ServerName, Wanted>()
      for (const [server, criteria] of Object.entries(body.server_keys)) {
        const until = Object.values(criteria).map((one) => one.minimum_valid_until_ts ?? now)
        const validUntil = Math.max(...until, until.length ? 0 : now)
        if (isServerName(server)) wanted.set(server, { validUntil, keyIds: Object.keys(criteria) })
      }
      return query(wanted)
    }),
    openRoute(getQueriedServerKeys, ({ params: { serverName, keyId }, query: asked }) => {
      const validUntil = asked.minimum_valid_until_ts ?? needs.clock.now()
      const keyIds = keyId === undefined ? [] : [keyId]
      return query(new Map([[serverName, { validUntil, keyIds }]]))
    }),
  ]
}

/** What is asked about one server. */
interface Wanted {
  readonly validUntil: number
  readonly keyIds: readonly string[]
}

/** Whether the server has to be asked, for newer keys or for one that it did not have. */
function isOutdated(known: Published | undefined, wanted: Wanted | undefined): boolean {
  if (known === undefined || wanted === undefined) return true
  if (known.validUntil < wanted.validUntil) return true
  if (wanted.keyIds.length === 0) return false
  const keys: unknown = JSON.parse(known.json)
  if (!isObject(keys)) return true
  const all = { ...objectAt(keys, 'old_verify_keys'), ...objectAt(keys, 'verify_keys') }
  return wanted.keyIds.some((keyId) => !Object.hasOwn(all, keyId))
}

/** What another server published, with our signature added. */
function countersigned(json: string, { serverName, key }: Needs): string {
  const keys: unknown = JSON.parse(json)
  return isObject(keys) ? JSON.stringify(signJson(keys, serverName, key)) : json
}

/** Our key object, signed anew once a day. */
function ownKeys({ serverName, key, own, clock }: Needs): () => string {
  let text = ''
  let renewAt = 0
  return () => {
    if (clock.now() < renewAt) return text
    const verify: Record<string, JsonObject> = {}
    const old: Record<string, JsonObject> = {}
    for (const [keyId, { publicKey, expiredAt }] of own) {
      if (expiredAt === undefined) verify[keyId] = { key: publicKey }
      else old[keyId] = { key: publicKey, expired_ts: expiredAt }
    }
    const keys = {
      server_name: serverName,
      verify_keys: verify,
      old_verify_keys: old,
      valid_until_ts: clock.now() + validMs,
    }
    text = JSON.stringify(signJson(keys, serverName, key))
    renewAt = clock.now() + renewMs
    return text
  }
}
