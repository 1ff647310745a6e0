import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { jsonObject, nothing } from '../fields.ts'

/** Events that are sent later (MSC4140, {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4140}). */
const base = '/_matrix/client/unstable/org.matrix.msc4140/delayed_events'
const spec = 'proposals'
const delayId = z.string().min(1).max(255)
const action = z.enum(['cancel', 'restart', 'send'])

const delayedEvent = z.object({
  delay_id: z.string(),
  room_id: z.string(),
  type: z.string(),
  state_key: z.string().exactOptional(),
  delay_ms: z.number(),
  delayed_since_ts: z.number(),
  content: jsonObject,
  // Names of earlier revisions.
  delay: z.number(),
  running_since: z.number(),
})

export const getDelayedEvents = endpoint({
  name: 'getDelayedEvents',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  paths: [base],
  query: {
    status: z.enum(['scheduled', 'finalised']).exactOptional(),
    delay_id: delayId.exactOptional(),
  },
  reply: z.object({
    delayed_events: z.array(delayedEvent),
    scheduled: z.array(delayedEvent).exactOptional(),
    finalised: z.array(jsonObject).exactOptional(),
  }),
  spec,
})

export const getDelayedEvent = endpoint({
  name: 'getDelayedEvent',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  paths: [`${base}/{delayId}`],
  params: { delayId },
  reply: delayedEvent,
  spec,
})

export const updateDelayedEvent = endpoint({
  name: 'updateDelayedEvent',
  method: 'POST',
  auth: 'none',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND'],
  paths: [`${base}/{delayId}`],
  params: { delayId },
  body: z.object({ action }),
  reply: nothing,
  spec,
})

const actOn = <const N extends string, const A extends z.output<typeof action>>(name: N, to: A) =>
  endpoint({
    name,
    method: 'POST',
    auth: 'none',
    rateLimit: 'write',
    errors: ['M_NOT_FOUND'],
    paths: [`${base}/{delayId}/${to}`],
    params: { delayId },
    body: jsonObject.optional(),
    reply: nothing,
    spec,
  })

export const cancelDelayedEvent = actOn('cancelDelayedEvent', 'cancel')
export const restartDelayedEvent = actOn('restartDelayedEvent', 'restart')
export const sendDelayedEvent = actOn('sendDelayedEvent', 'send')
