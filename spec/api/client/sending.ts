import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema } from '../../ids.ts'
import { jsonObject, openObject, queryInteger, reason } from '../fields.ts'

const eventType = z.string().min(1).max(255)
const txnId = z.string().min(1).max(255)
/**
 * Application services may say when an event was sent, in milliseconds since the epoch; and anybody, after how many
 * milliseconds it is to be sent (MSC4140).
 */
const times = {
  ts: queryInteger({ min: 0 }).exactOptional(),
  'org.matrix.msc4140.delay': queryInteger({ min: 0 }).exactOptional(),
}
const sent = z.object({ event_id: eventIdSchema })
/** A delayed event has no id yet. */
const sentOrDelayed = z.union([sent, z.object({ delay_id: z.string() })])
/** The repetition of a delayed event may come without its content. */
const content = jsonObject.optional()

export const sendMessage = endpoint({
  name: 'sendMessage',
  method: 'PUT',
  auth: 'guest',
  rateLimit: 'send',
  errors: ['M_FORBIDDEN', 'M_TOO_LARGE'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}'],
  params: { roomId: roomIdSchema, eventType, txnId },
  query: times,
  body: content,
  reply: sentOrDelayed,
})

export const setState = endpoint({
  name: 'setState',
  method: 'PUT',
  auth: 'guest',
  rateLimit: 'send',
  errors: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_BAD_ALIAS'],
  paths: [
    '/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}',
    '/_matrix/client/v3/rooms/{roomId}/state/{eventType}/',
    '/_matrix/client/v3/rooms/{roomId}/state/{eventType}',
  ],
  params: { roomId: roomIdSchema, eventType, stateKey: z.string().max(255).default('') },
  query: times,
  body: content,
  reply: sentOrDelayed,
})

export const redactEvent = endpoint({
  name: 'redactEvent',
  method: 'PUT',
  auth: 'token',
  rateLimit: 'send',
  errors: ['M_FORBIDDEN'],
  paths: ['/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}'],
  params: { roomId: roomIdSchema, eventId: eventIdSchema, txnId },
  body: openObject({ reason }),
  reply: sent,
})
