import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { eventIdSchema, roomIdSchema } from '../../ids.ts'
import { nothing, queryInteger } from '../fields.ts'

/** Changes of thread subscriptions in one answer. */
const changesMax = 512

const subscription = {
  auth: 'token',
  paths: [
    '/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{threadRootId}/subscription',
  ],
  params: { roomId: roomIdSchema, threadRootId: eventIdSchema },
  spec: 'client-server-api/#threading',
} as const

export const getThreadSubscription = endpoint({
  ...subscription,
  name: 'getThreadSubscription',
  method: 'GET',
  rateLimit: 'read',
  errors: ['M_NOT_FOUND'],
  reply: z.object({ automatic: z.boolean() }),
})

export const setThreadSubscription = endpoint({
  ...subscription,
  name: 'setThreadSubscription',
  method: 'PUT',
  rateLimit: 'write',
  errors: [
    'M_NOT_FOUND',
    'IO.ELEMENT.MSC4306.M_NOT_IN_THREAD',
    'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION',
  ],
  body: z.object({ automatic: eventIdSchema.nullable().exactOptional() }),
  reply: nothing,
})

export const deleteThreadSubscription = endpoint({
  ...subscription,
  name: 'deleteThreadSubscription',
  method: 'DELETE',
  rateLimit: 'write',
  errors: ['M_NOT_FOUND'],
  reply: nothing,
})

const byThread = <S extends z.ZodType>(change: S) =>
  z.record(z.string(), z.record(z.string(), change)).exactOptional()

export const getThreadSubscriptions = endpoint({
  name: 'getThreadSubscriptions',
  method: 'GET',
  auth: 'token',
  rateLimit: 'read',
  errors: ['M_INVALID_PARAM'],
  paths: ['/_matrix/client/unstable/io.element.msc4308/thread_subscriptions'],
  query: {
    dir: z.literal('b'),
    from: z.string().max(512).exactOptional(),
    to: z.string().max(512).exactOptional(),
    limit: queryInteger({ min: 1 })
      .transform((limit) => Math.min(limit, changesMax))
      .default(100),
  },
  reply: z.object({
    subscribed: byThread(z.object({ automatic: z.boolean(), bump_stamp: z.number() })),
    unsubscribed: byThread(z.object({ bump_stamp: z.number() })),
    end: z.string().exactOptional(),
  }),
  spec: 'client-server-api/#threading',
})
