/** The engine's questions to other servers, asked over HTTP. {@link ../homeserver/ports.ts} */
import type { Remote } from '../homeserver/ports.ts'
import * as events from '../spec/api/federation/events.ts'
import * as membership from '../spec/api/federation/membership.ts'
import { policySign } from '../spec/api/federation/policy.ts'
import * as queries from '../spec/api/federation/queries.ts'
import { MatrixError } from '../spec/errors.ts'
import type { JsonObject } from '../spec/json.ts'
import {
  type Ask,
  type AskSplit,
  createAsk,
  createAskSplit,
  type AskOptions as Options,
} from './ask.ts'
import type { FederationClient } from './request.ts'

/** A join of a large room is computed, sent and read within this. */
const joinTimeoutMs = 180_000
const stateTimeoutMs = 120_000
/** Somebody waits to have their message sent. */
const policyTimeoutMs = 20_000
const stateBytesMax = 192 * 1024 * 1024
const historyBytesMax = 16 * 1024 * 1024

/** Somebody waits for the answer: the server is asked also when it did not answer lately. */
const waitedFor: Options = { ignoreBackoff: true }
const joining: Options = { ...waitedFor, timeoutMs: joinTimeoutMs, replyBytesMax: stateBytesMax }
const ofState: Options = { timeoutMs: stateTimeoutMs, replyBytesMax: stateBytesMax }
/** A client waits that will not for long; it is told which servers did not answer. */
const ofKeys: Options = { timeoutMs: 10_000 }
/** One of several servers that could answer a client who waits. */
const lookingAround: Options = { timeoutMs: 10_000 }
const ofHistory: Options = { replyBytesMax: historyBytesMax }

type MembershipQuestion =
  | 'makeJoin'
  | 'sendJoin'
  | 'makeLeave'
  | 'sendLeave'
  | 'makeKnock'
  | 'sendKnock'
  | 'invite'
  | 'exchangeThirdPartyInvite'
  | 'policySign'

type EventQuestion =
  | 'getEvent'
  | 'stateIds'
  | 'state'
  | 'eventAuth'
  | 'missingEvents'
  | 'backfill'
  | 'timestampToEvent'

export function createRemote(needs: { readonly client: FederationClient }): Remote {
  const ask = createAsk(needs)
  return {
    ...aboutMembership(ask, createAskSplit(needs)),
    ...aboutEvents(ask),
    ...aboutUsersAndRooms(ask),
  }
}

function aboutMembership(ask: Ask, askSplit: AskSplit): Pick<Remote, MembershipQuestion> {
  return {
    makeJoin: async (server, roomId, userId, ver) =>
      template(
        await ask(
          server,
          membership.makeJoin,
          { params: { roomId, userId }, query: { ver } },
          waitedFor,
        ),
      ),
    async sendJoin(server, roomId, eventId, body, { omitMembers } = { omitMembers: false }) {
      const asked = { params: { roomId, eventId }, query: { omit_members: omitMembers }, body }
      const { answer, lists } = await askSplit(
        server,
        membership.sendJoin,
        asked,
        ['state', 'auth_chain'],
        joining,
      )
      const { event, servers_in_room, members_omitted } = answer
      return {
        state: lists.get('state') ?? [],
        auth_chain: lists.get('auth_chain') ?? [],
        ...(event && { event }),
        ...(members_omitted && { members_omitted }),
        ...(servers_in_room && { servers_in_room }),
      }
    },
    makeLeave: async (server, roomId, userId) =>
      template(await ask(server, membership.makeLeave, { params: { roomId, userId } }, waitedFor)),
    async sendLeave(server, roomId, eventId, body) {
      await ask(server, membership.sendLeave, { params: { roomId, eventId }, body }, waitedFor)
    },
    makeKnock: async (server, roomId, userId, ver) =>
      template(
        await ask(
          server,
          membership.makeKnock,
          { params: { roomId, userId }, query: { ver } },
          waitedFor,
        ),
      ),
    sendKnock: (server, roomId, eventId, body) =>
      ask(server, membership.sendKnock, { params: { roomId, eventId }, body }, waitedFor),
    async exchangeThirdPartyInvite(server, roomId, body) {
      await ask(server, membership.exchangeThirdPartyInvite, { params: { roomId }, body })
    },
    policySign: (server, body, { isAwaited }) =>
      ask(server, policySign, { body }, { timeoutMs: policyTimeoutMs, ignoreBackoff: isAwaited }),
    async invite(server, roomId, eventId, { room_version, event, invite_room_state }) {
      const params = { roomId, eventId }
      const body = { room_version, event, invite_room_state }
      try {
        return (await ask(server, membership.sendInvite, { params, body }, waitedFor)).event
      } catch (error) {
        // Older servers know only version 1 of the endpoint, and room versions 1 and 2.
        if (!isOlder(error) || (room_version !== '1' && room_version !== '2')) throw error
        const unsigned = { invite_room_state }
        const [, answer] = await ask(
          server,
          membership.sendInviteV1,
          { params, body: { ...event, unsigned } },
          waitedFor,
        )
        return answer.event
      }
    },
  }
}

function aboutEvents(ask: Ask): Pick<Remote, EventQuestion> {
  return {
    async getEvent(server, eventId) {
      const { pdus } = await ask(server, events.getEvent, { params: { eventId } })
      const [event] = pdus
      if (!event) throw new MatrixError('M_NOT_FOUND', 'Event not found')
      return event
    },
    stateIds: (server, roomId, event_id) =>
      ask(server, events.getStateIds, { params: { roomId }, query: { event_id } }, ofState),
    state: (server, roomId, event_id) =>
      ask(server, events.getState, { params: { roomId }, query: { event_id } }, ofState),
    eventAuth: async (server, roomId, eventId) =>
      (await ask(server, events.getEventAuth, { params: { roomId, eventId } }, ofState)).auth_chain,
    async missingEvents(server, roomId, { earliest, latest, limit, minDepth }) {
      const body = {
        earliest_events: earliest,
        latest_events: latest,
        limit,
        min_depth: minDepth,
      }
      const asked = { params: { roomId }, body }
      return (await ask(server, events.getMissingEvents, asked, ofHistory)).events
    },
    backfill: async (server, roomId, v, limit) =>
      (await ask(server, events.backfill, { params: { roomId }, query: { v, limit } }, ofHistory))
        .pdus,
    timestampToEvent: (server, roomId, ts, dir) =>
      ask(
        server,
        events.getEventByTimestamp,
        { params: { roomId }, query: { ts, dir } },
        lookingAround,
      ),
  }
}

function aboutUsersAndRooms(ask: Ask): Omit<Remote, MembershipQuestion | EventQuestion> {
  return {
    resolveAlias: (server, room_alias) =>
      ask(server, queries.queryDirectory, { query: { room_alias } }, waitedFor),
    profile: (server, user_id, field) =>
      ask(server, queries.queryProfile, { query: { user_id, field } }),
    publicRooms: (server, body) =>
      ask(server, queries.searchFederationPublicRooms, { body }, waitedFor),
    queryKeys: (server, device_keys) =>
      ask(server, queries.queryUserKeys, { body: { device_keys } }, ofKeys),
    claimKeys: (server, one_time_keys) =>
      ask(server, queries.claimUserKeys, { body: { one_time_keys } }, ofKeys),
    userDevices: (server, userId) =>
      ask(server, queries.getUserDevices, { params: { userId } }, ofKeys),
    hierarchy: (server, roomId, suggested_only) =>
      ask(
        server,
        queries.getFederationHierarchy,
        { params: { roomId }, query: { suggested_only } },
        lookingAround,
      ),
  }
}

function template({
  room_version,
  event,
}: {
  room_version?: string | undefined
  event: JsonObject
}) {
  return { event, ...(room_version !== undefined && { room_version }) }
}

function isOlder(error: unknown): boolean {
  return (
    error instanceof MatrixError &&
    error.errcode === 'M_UNRECOGNIZED' &&
    [400, 404, 405].includes(error.status)
  )
}
