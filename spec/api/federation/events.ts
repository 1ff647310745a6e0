import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema } from '../../ids.ts'
import { jsonObject, queryInteger, queryLimit, queryList } from '../fields.ts'
import { historyLimitMax, requestedIdsMax, serverSpec, signed } from './declare.ts'

/** Most state and auth events that an answer about a whole room's state may carry. */
export const stateEventsMax = 500_000

const pdus = (max: number) => z.array(jsonObject).max(max)
const ids = (max: number) => z.array(eventIdSchema).max(max)

export const getEvent = endpoint({
  ...signed,
  name: 'getFederationEvent',
  method: 'GET',
  paths: ['/_matrix/federation/v1/event/{eventId}'],
  params: { eventId: eventIdSchema },
  errors: ['M_NOT_FOUND'],
  reply: z.object({ pdus: pdus(1) }),
  spec: serverSpec('GET', '/_matrix/federation/v1/event/{eventId}'),
})

export const getState = endpoint({
  ...signed,
  name: 'getFederationState',
  method: 'GET',
  paths: ['/_matrix/federation/v1/state/{roomId}'],
  params: { roomId: roomIdSchema },
  query: { event_id: eventIdSchema },
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  reply: z.object({ pdus: pdus(stateEventsMax), auth_chain: pdus(stateEventsMax) }),
  spec: serverSpec('GET', '/_matrix/federation/v1/state/{roomId}'),
})

export const getStateIds = endpoint({
  ...signed,
  name: 'getFederationStateIds',
  method: 'GET',
  paths: ['/_matrix/federation/v1/state_ids/{roomId}'],
  params: { roomId: roomIdSchema },
  query: { event_id: eventIdSchema },
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  reply: z.object({ pdu_ids: ids(stateEventsMax), auth_chain_ids: ids(stateEventsMax) }),
  spec: serverSpec('GET', '/_matrix/federation/v1/state_ids/{roomId}'),
})

export const getEventAuth = endpoint({
  ...signed,
  name: 'getEventAuth',
  method: 'GET',
  paths: ['/_matrix/federation/v1/event_auth/{roomId}/{eventId}'],
  params: { roomId: roomIdSchema, eventId: eventIdSchema },
  errors: ['M_NOT_FOUND', 'M_FORBIDDEN'],
  reply: z.object({ auth_chain: pdus(stateEventsMax) }),
  spec: serverSpec('GET', '/_matrix/federation/v1/event_auth/{roomId}/{eventId}'),
})

export const backfill = endpoint({
  ...signed,
  name: 'backfill',
  method: 'GET',
  paths: ['/_matrix/federation/v1/backfill/{roomId}'],
  params: { roomId: roomIdSchema },
  query: {
    v: queryList(eventIdSchema, requestedIdsMax),
    limit: queryLimit(historyLimitMax),
  },
  errors: ['M_FORBIDDEN'],
  reply: z.object({ pdus: pdus(historyLimitMax) }),
  spec: serverSpec('GET', '/_matrix/federation/v1/backfill/{roomId}'),
})

export const getMissingEvents = endpoint({
  ...signed,
  name: 'getMissingEvents',
  method: 'POST',
  paths: ['/_matrix/federation/v1/get_missing_events/{roomId}'],
  params: { roomId: roomIdSchema },
  body: z.object({
    earliest_events: ids(requestedIdsMax),
    latest_events: ids(requestedIdsMax),
    limit: z.number().int().min(0).optional(),
    min_depth: z.number().int().optional(),
  }),
  errors: ['M_FORBIDDEN'],
  reply: z.object({ events: pdus(historyLimitMax) }),
  spec: serverSpec('POST', '/_matrix/federation/v1/get_missing_events/{roomId}'),
})

export const getEventByTimestamp = endpoint({
  ...signed,
  name: 'getFederationEventByTimestamp',
  method: 'GET',
  paths: ['/_matrix/federation/v1/timestamp_to_event/{roomId}'],
  params: { roomId: roomIdSchema },
  query: { ts: queryInteger({ min: 0 }), dir: z.enum(['f', 'b']) },
  errors: ['M_NOT_FOUND'],
  reply: z.object({ event_id: eventIdSchema, origin_server_ts: z.number().int() }),
  spec: serverSpec('GET', '/_matrix/federation/v1/timestamp_to_event/{roomId}'),
})
