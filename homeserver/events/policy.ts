/**
 * Policy servers: a room may name a server whose signature says that an event is welcome. It is asked outside of the
 * room's turn. {@link https://spec.matrix.org/v1.19/server-server-api/#policy-servers}
 */
import { verifySignature } from '../../spec/crypto/ed25519.ts'
import { policyKeyId, signaturesOf } from '../../spec/crypto/sign-json.ts'
import { forbidden, MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { isServerName, type RoomId, type ServerName } from '../../spec/ids.ts'
import { type Json, objectAt, stringAt } from '../../spec/json.ts'
import { parsePdu, redactedBytesForSignature } from '../../spec/room/event-format.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Remote } from '../ports.ts'
import { joinedServers } from './joined-servers.ts'
import type { RoomViews } from './room-views.ts'
import type { EventStore } from './store.ts'

export interface Policy {
  /** May an event have to be signed by a policy server in a room whose state has these keys. Costs nothing. */
  concerns(state: Pick<ReadonlyMap<StateKey, unknown>, 'has'>, event: PolicyMatter): boolean
  /**
   * An event of ours with the signature of its room's policy server; as it is where there is none.
   * @throws MatrixError as the policy server answered; M_FORBIDDEN when it did not sign
   */
  sign(pdu: Pdu, rules: RoomVersionRules): Promise<Pdu>
  /** An event of another server: with the signature if it can be had, and why it is not welcome if not. */
  check(
    pdu: Pdu,
    rules: RoomVersionRules,
  ): Promise<{ readonly pdu: Pdu; readonly refusal?: string }>
}

/** What of an event decides whether it is a policy server's business. */
type PolicyMatter = Pick<Pdu, 'type' | 'stateKey'>

interface PolicyServer {
  readonly name: ServerName
  readonly publicKey: string
}

interface Needs {
  readonly serverName: ServerName
  readonly remote: Pick<Remote, 'policySign'>
  readonly views: RoomViews
  readonly store: EventStore
}

const policyType = 'm.room.policy'

export function createPolicy({ serverName, remote, views, store }: Needs): Policy {
  /** The policy server that the room uses: named by its state, and in the room. */
  async function serverOf(room: RoomId): Promise<PolicyServer | undefined> {
    const view = await views.get(room)
    const nr = view?.entries.get(stateKeyOf(policyType, ''))
    if (view === undefined || nr === undefined) return undefined
    const content = (await store.byNumber([nr])).get(nr)?.pdu.content
    const name = content?.['via']
    const keys = content && objectAt(content, 'public_keys')
    const publicKey = keys && stringAt(keys, 'ed25519')
    // This server is no policy server, whatever a room says.
    if (!isServerName(name) || publicKey === undefined || name === serverName) return undefined
    return (await joinedServers(store, view)).has(name) ? { name, publicKey } : undefined
  }

  async function signed(pdu: Pdu, rules: RoomVersionRules, isOurs: boolean): Promise<Pdu> {
    const server = isExempt(pdu) ? undefined : await serverOf(pdu.roomId)
    if (server === undefined || isSigned(pdu, rules, server)) return pdu
    const answer = await remote.policySign(server.name, pdu.json, { isAwaited: isOurs })
    const signature = objectAt(answer, server.name)?.[policyKeyId]
    const whole =
      typeof signature === 'string' ? withSignature(pdu, server.name, signature, rules) : pdu
    if (isSigned(whole, rules, server)) return whole
    throw forbidden('The policy server of the room did not sign the event')
  }

  return {
    concerns: (state, event) => state.has(stateKeyOf(policyType, '')) && !isExempt(event),
    sign: (pdu, rules) => signed(pdu, rules, true),
    async check(pdu, rules) {
      try {
        return { pdu: await signed(pdu, rules, false) }
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error
        return { pdu, refusal: `not recommended by the policy server: ${error.message}` }
      }
    },
  }
}

/** Rooms change or leave their policy server without asking it. */
function isExempt({ type, stateKey }: PolicyMatter): boolean {
  return type === policyType && stateKey === ''
}

function isSigned(pdu: Pdu, rules: RoomVersionRules, { name, publicKey }: PolicyServer): boolean {
  const signature = signaturesOf(pdu.json, name)[policyKeyId]
  if (signature === undefined) return false
  return verifySignature(publicKey, redactedBytesForSignature(pdu, rules), signature)
}

/** What the server has signed as the event's origin stays beside it. */
function withSignature(
  pdu: Pdu,
  server: ServerName,
  signature: string,
  rules: RoomVersionRules,
): Pdu {
  const before = objectAt(pdu.json, 'signatures') ?? {}
  const own: Record<string, Json> = { ...objectAt(before, server), [policyKeyId]: signature }
  return parsePdu({ ...pdu.json, signatures: { ...before, [server]: own } }, rules)
}
