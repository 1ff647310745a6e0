/**
 * Joining, leaving and knocking by other servers, and inviting their users. What another server gives us to sign is
 * rebuilt from our own fields.
 */
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import { MatrixError, notFound } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import { isUserId, type RoomId, type ServerName, type UserId } from '../../spec/ids.ts'
import { integerAt, type Json, type JsonObject, objectAt } from '../../spec/json.ts'
import { finishPdu, parsePdu } from '../../spec/room/event-format.ts'
import {
  type RoomVersionRules,
  roomVersions,
  rulesOf,
  unstableRoomVersions,
} from '../../spec/room/version.ts'
import type { Events } from '../events/events.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import type { KeyRing, Remote } from '../ports.ts'
import { shownState } from './shown-state.ts'
import { isSignedBy } from './signed-by.ts'

/** Servers that are asked to let a user in. */
const candidatesMax = 20
const eventIdLength = 24
/** Pauses before a server that forbids what an invite allows is asked again, in milliseconds. */
const invitePausesMs = [100, 300, 900]
const versions = [...roomVersions.keys(), ...unstableRoomVersions.keys()]

/** Servers that may let a user into a room, or out of it. */
export interface Candidates {
  /** Asked in order. */
  readonly candidates: readonly ServerName[]
  /** Asked when none of them is there and in the room: what they decide, it is not asked again. */
  readonly lastResort?: ServerName
}

/** What our user wants to be in a room of other servers. */
export interface Entry extends Candidates {
  readonly room: RoomId
  readonly user: UserId
  readonly membership: 'join' | 'leave' | 'knock'
  /** Content beside the membership. */
  readonly content: JsonObject
  /** The user has an invite. */
  readonly isInvited?: boolean
}

export interface Handshakes {
  /** Resolves when the room is here, or when its servers will send us the join. */
  join(entry: Entry): Promise<void>
  /** Answers our leave as the other server took it. */
  leave(entry: Entry): Promise<Made>
  knock(entry: Entry): Promise<Made & { readonly state: readonly JsonObject[] }>
  /** Has the invited user's server sign an invite of ours; answers the invite with both signatures. */
  invite(pdu: Pdu, rules: RoomVersionRules, server: ServerName, sender: UserId): Promise<Pdu>
}

/** An event of ours in a room of others. */
export interface Made {
  readonly pdu: Pdu
  readonly rules: RoomVersionRules
}

export interface HandshakeNeeds {
  readonly serverName: ServerName
  readonly key: SigningKey
  readonly keys: KeyRing
  readonly clock: Clock
  readonly random: Random
  readonly remote: Remote
  readonly events: Pick<
    Events,
    'importRoom' | 'entering' | 'receive' | 'serversIn' | 'currentState' | 'extremities'
  >
  /** Ask for rooms without their members, which come later. */
  readonly fasterJoins?: boolean
  readonly logger?: Logger
}

export function createHandshakes(needs: HandshakeNeeds): Handshakes {
  const { keys, remote, events } = needs

  return {
    join: (entry) => firstOf(needs, entry, (server) => joinBy(needs, server, entry)),
    leave: (entry) =>
      firstOf(needs, entry, async (server) => {
        const { room, user } = entry
        const made = build(needs, entry, await remote.makeLeave(server, room, user))
        await remote.sendLeave(server, room, made.pdu.eventId, made.pdu.json)
        return made
      }),
    knock: (entry) =>
      firstOf(needs, entry, async (server) => {
        const { room, user } = entry
        const made = build(needs, entry, await remote.makeKnock(server, room, user, versions))
        const answer = await remote.sendKnock(server, room, made.pdu.eventId, made.pdu.json)
        return { ...made, state: answer.knock_room_state }
      }),
    async invite(pdu, rules, server, sender) {
      const state = await shownState(events, pdu.roomId, sender)
      const answer = await remote
        .invite(server, pdu.roomId, pdu.eventId, {
          room_version: rules.version,
          event: pdu.json,
          invite_room_state: state.map((event) => event.pdu.json),
        })
        .catch((error) => {
          throw error instanceof MatrixError ? refusedInvite(error) : error
        })
      const signed = withSignaturesOf(pdu, answer, rules)
      if (!(await isSignedBy(keys, server, signed, rules))) {
        throw new MatrixError('M_UNKNOWN', `${server} did not sign the invite`, { status: 502 })
      }
      return signed
    },
  }
}

/** Asks one server after the other until one answers; what it forbids is final. */
async function firstOf<T>(
  { serverName, logger }: HandshakeNeeds,
  { room, candidates, lastResort }: Entry,
  ask: (server: ServerName) => Promise<T>,
): Promise<T> {
  const named = [...new Set(candidates)].filter((server) => server !== serverName)
  const asked = new Set(named.slice(0, candidatesMax))
  const isLast = lastResort !== undefined && lastResort !== serverName && !asked.has(lastResort)
  let failure: MatrixError | undefined
  for (const server of [...asked, ...(isLast ? [lastResort] : [])]) {
    // A server of the room has looked at it and said that it is not the one to ask: it is for the client to name others.
    if (!asked.has(server) && isUnable(failure)) break
    try {
      return await ask(server)
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error
      if (isFinal(error)) throw error
      logger?.info({ room, server, errcode: error.errcode }, 'handshake failed')
      failure = error
    }
  }
  if (failure === undefined) throw notFound('A server that is in the room was')
  throw outward(failure)
}

/** The event that the template stands for, signed by us. */
function build(
  needs: HandshakeNeeds,
  entry: Entry,
  { room_version: version = '1', event }: { room_version?: string; event: JsonObject },
): Made {
  const rules = rulesOf(version)
  if (rules === undefined) {
    throw new MatrixError(
      'M_INCOMPATIBLE_ROOM_VERSION',
      `this server does not know room version ${version}`,
      { fields: { room_version: version } },
    )
  }
  const draft = rebuilt(needs, entry, event, rules)
  return { rules, pdu: finishPdu(draft, rules, needs.serverName, needs.key) }
}

async function joinBy(needs: HandshakeNeeds, server: ServerName, entry: Entry): Promise<void> {
  const { events } = needs
  const { room } = entry
  const made = build(needs, entry, await makeJoin(needs, server, entry))
  await events.entering(room, () => sendJoin(needs, server, room, made))
}

/** An invited user sees the invite before the inviting server has it: who is as quick as that asks again. */
async function makeJoin(
  { remote, clock }: HandshakeNeeds,
  server: ServerName,
  { room, user, isInvited = false }: Entry,
) {
  for (const pauseMs of isInvited ? invitePausesMs : []) {
    try {
      return await remote.makeJoin(server, room, user, versions)
    } catch (error) {
      if (!(error instanceof MatrixError) || error.errcode !== 'M_FORBIDDEN') throw error
      await clock.sleep(pauseMs)
    }
  }
  return await remote.makeJoin(server, room, user, versions)
}

async function sendJoin(
  { remote, events, serverName, fasterJoins = false }: HandshakeNeeds,
  server: ServerName,
  room: RoomId,
  { rules, pdu }: Made,
): Promise<void> {
  // A room that was here before has members that are known.
  const omitMembers = fasterJoins && (await events.extremities(room)).ids.length === 0
  const answer = await remote.sendJoin(server, room, pdu.eventId, pdu.json, { omitMembers })
  const join = answer.event === undefined ? pdu : withSignaturesOf(pdu, answer.event, rules)
  if ((await events.serversIn(room)).has(serverName)) {
    const receipt = (await events.receive(server, room, [join.json])).get(join.eventId)
    if (receipt?.kind === 'accepted' || receipt?.kind === 'known') return
    throw new MatrixError('M_FORBIDDEN', 'the join was not accepted')
  }
  const isPartial = answer.members_omitted === true
  if (isPartial && !omitMembers) {
    const reason = `${server} left out the members of the room, for which it was asked`
    throw new MatrixError('M_UNKNOWN', reason, { status: 502 })
  }
  await events.importRoom({
    room,
    rules,
    join,
    origin: server,
    state: answer.state,
    authChain: answer.auth_chain,
    ...(isPartial && {
      partial: { servers: answer.servers_in_room ?? [server] },
    }),
  })
}

/** Our event from our own fields; of the template only its place in the room and who vouches for a join. */
function rebuilt(
  { clock, random, serverName }: HandshakeNeeds,
  { room, user, membership, content }: Entry,
  template: JsonObject,
  rules: RoomVersionRules,
): JsonObject {
  const authoriser = objectAt(template, 'content')?.['join_authorised_via_users_server']
  const isVouchedFor = membership === 'join' && rules.restrictedJoin && isUserId(authoriser)
  const draft: Record<string, Json> = {
    auth_events: template['auth_events'] ?? [],
    content: {
      ...content,
      membership,
      ...(isVouchedFor && { join_authorised_via_users_server: authoriser }),
    },
    depth: Math.max(1, integerAt(template, 'depth') ?? 1),
    origin_server_ts: clock.now(),
    prev_events: template['prev_events'] ?? [],
    room_id: room,
    sender: user,
    state_key: user,
    type: 'm.room.member',
  }
  if (rules.eventIdFormat === 'opaque') {
    draft['event_id'] = `$${random.text(eventIdLength)}:${serverName}`
    draft['origin'] = serverName
  }
  return draft
}

/** What is wrong with an invite of ours is not our client's fault. {@link https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid} */
function refusedInvite(error: MatrixError): MatrixError {
  const isOurFault = error.errcode === 'M_MISSING_PARAM' || error.errcode === 'M_INVALID_PARAM'
  if (!isOurFault) return outward(error)
  return new MatrixError('M_UNKNOWN', `The other server refused the invite: ${error.message}`, {
    status: 502,
  })
}

/** Our event with the signatures that others put on it; everything else of what they sent back is ours. */
function withSignaturesOf(pdu: Pdu, answer: JsonObject, rules: RoomVersionRules): Pdu {
  const signatures: Record<string, Json> = { ...objectAt(pdu.json, 'signatures') }
  for (const server of Object.keys(objectAt(answer, 'signatures') ?? {})) {
    if (Object.hasOwn(signatures, server)) continue
    const theirs = objectAt(objectAt(answer, 'signatures') ?? {}, server)
    if (theirs !== undefined) signatures[server] = theirs
  }
  return parsePdu({ ...pdu.json, signatures }, rules)
}

/** Refusals that the next server would repeat. */
function isFinal({ errcode }: MatrixError): boolean {
  return errcode === 'M_FORBIDDEN' || errcode === 'M_INCOMPATIBLE_ROOM_VERSION'
}

/** Could a server not decide on a restricted join. */
export function isUnable(error: unknown): boolean {
  return (
    error instanceof MatrixError &&
    (error.errcode === 'M_UNABLE_TO_AUTHORISE_JOIN' || error.errcode === 'M_UNABLE_TO_GRANT_JOIN')
  )
}

/** A server's failure as our client is told it. */
function outward(error: MatrixError): MatrixError {
  if (error.status < 500 && error.status !== 401 && error.status !== 429) return error
  return new MatrixError(error.errcode, error.message, { status: 502, fields: error.fields })
}
