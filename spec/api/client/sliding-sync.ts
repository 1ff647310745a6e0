import { z } from 'zod'
import { endpoint } from '../../endpoint.ts'
import { jsonObject, queryInteger } from '../fields.ts'

/**
 * Simplified sliding sync, as it was tried out and as it was accepted. Limits on how many lists and rooms there may be
 * are the handler's, which says which one it was.
 * {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4186}
 */
const spec = 'https://github.com/matrix-org/matrix-spec-proposals/pull/4186'

const timelineLimit = z.number().int().min(0)
const listNameMax = 64
const textMax = 255
const entriesMax = 500
const rangesMax = 20
const presence = z.enum(['offline', 'online', 'unavailable'])
const texts = z.array(z.string().max(textMax)).max(entriesMax)
const roomTypes = z.array(z.string().max(textMax).nullable()).max(entriesMax)
/** It is stored, and no database holds a NUL in a text. */
const connId = z
  .string()
  .regex(/^[^\0]*$/, 'contains NUL')
  .max(textMax)
const pos = z.string().max(512)
const index = z.number().int().min(0)
const range = z
  .tuple([index, index])
  .refine(([first, last]) => first <= last, { error: 'expected the first index before the last' })

/** Some clients write null where there is nothing. */
const maybe = <S extends z.ZodType>(schema: S) => schema.nullish()

const selection = {
  enabled: maybe(z.boolean()),
  lists: maybe(texts),
  rooms: maybe(texts),
}

const limit = z.number().int().min(0)

/** Extensions are the same in both; ones that nobody knows are passed over. */
const extensions = z.object({
  to_device: maybe(
    z.object({
      enabled: maybe(z.boolean()),
      since: maybe(z.string().regex(/^[0-9]{1,16}$/, 'expected what was answered before')),
      limit: maybe(limit),
    }),
  ),
  e2ee: maybe(z.object({ enabled: maybe(z.boolean()) })),
  account_data: maybe(z.object(selection)),
  receipts: maybe(z.object(selection)),
  typing: maybe(z.object(selection)),
  'io.element.msc4308.thread_subscriptions': maybe(
    z.object({ enabled: maybe(z.boolean()), limit: maybe(limit) }),
  ),
})

const filters = {
  is_dm: maybe(z.boolean()),
  spaces: maybe(texts),
  is_encrypted: maybe(z.boolean()),
  room_types: maybe(roomTypes),
  not_room_types: maybe(roomTypes),
  tags: maybe(texts),
  not_tags: maybe(texts),
}

const triedRoom = {
  timeline_limit: timelineLimit,
  required_state: z
    .array(z.tuple([z.string().max(textMax), z.string().max(textMax)]))
    .max(entriesMax),
}

const triedBody = z.object({
  conn_id: maybe(connId),
  lists: maybe(
    z.record(
      z.string().max(listNameMax),
      z.object({
        ...triedRoom,
        ranges: maybe(z.array(range).max(rangesMax)),
        slow_get_all_rooms: maybe(z.boolean()),
        filters: maybe(
          z.object({
            ...filters,
            is_invite: maybe(z.boolean()),
            room_name_like: maybe(z.string().max(textMax)),
          }),
        ),
      }),
    ),
  ),
  room_subscriptions: maybe(z.record(z.string().max(textMax), z.object(triedRoom))),
  extensions: maybe(extensions),
})

/** The body that today's clients send. */
export type TriedSlidingBody = z.output<typeof triedBody>

const element = z.object({
  type: z.string().max(textMax).exactOptional(),
  state_key: z.string().max(textMax).exactOptional(),
})

const acceptedRoom = {
  timeline_limit: timelineLimit,
  required_state: z.object({
    include: z.array(element).max(entriesMax).exactOptional(),
    exclude: z.array(element).max(entriesMax).exactOptional(),
    lazy_members: z.boolean().exactOptional(),
  }),
}

const acceptedBody = z.object({
  conn_id: connId.exactOptional(),
  pos: pos.exactOptional(),
  timeout: z.number().int().min(0).exactOptional(),
  set_presence: z.string().max(textMax).exactOptional(),
  lists: z
    .record(
      z.string().max(textMax),
      z.object({
        ...acceptedRoom,
        range: range.exactOptional(),
        filters: z.object({ ...filters, is_invited: maybe(z.boolean()) }).exactOptional(),
      }),
    )
    .exactOptional(),
  room_subscriptions: z.record(z.string().max(textMax), z.object(acceptedRoom)).exactOptional(),
  extensions: extensions.exactOptional(),
})

/** The body as it was accepted. */
export type AcceptedSlidingBody = z.output<typeof acceptedBody>
export type SlidingExtensions = z.output<typeof extensions>

const event = jsonObject
const hero = z.object({
  user_id: z.string(),
  displayname: z.string().exactOptional(),
  avatar_url: z.string().exactOptional(),
})

const room = {
  bump_stamp: z.number().exactOptional(),
  name: z.string().nullable().exactOptional(),
  avatar: z.string().nullable().exactOptional(),
  heroes: z.array(hero).exactOptional(),
  is_dm: z.boolean().exactOptional(),
  initial: z.boolean().exactOptional(),
  required_state: z.array(event).exactOptional(),
  timeline: z.array(event).exactOptional(),
  prev_batch: z.string().exactOptional(),
  limited: z.boolean().exactOptional(),
  num_live: z.number().exactOptional(),
  joined_count: z.number().exactOptional(),
  invited_count: z.number().exactOptional(),
}

const roomEvents = z.record(z.string(), event)
const answer = {
  pos: z.string(),
  extensions: z
    .object({
      to_device: z.object({ next_batch: z.string(), events: z.array(event) }).exactOptional(),
      e2ee: z
        .object({
          device_lists: z
            .object({ changed: z.array(z.string()), left: z.array(z.string()) })
            .exactOptional(),
          device_one_time_keys_count: z.record(z.string(), z.number()),
          device_unused_fallback_key_types: z.array(z.string()),
        })
        .exactOptional(),
      account_data: z
        .object({ global: z.array(event), rooms: z.record(z.string(), z.array(event)) })
        .exactOptional(),
      receipts: z.object({ rooms: roomEvents }).exactOptional(),
      typing: z.object({ rooms: roomEvents }).exactOptional(),
      'io.element.msc4308.thread_subscriptions': jsonObject.exactOptional(),
    })
    .exactOptional(),
}

export const slidingSyncUnstable = endpoint({
  name: 'slidingSyncUnstable',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'none',
  errors: ['M_INVALID_PARAM', 'M_UNKNOWN_POS'],
  paths: ['/_matrix/client/unstable/org.matrix.simplified_msc3575/sync'],
  query: {
    pos: pos.exactOptional(),
    timeout: queryInteger({ min: 0 }).default(0),
    set_presence: presence.default('online'),
  },
  body: triedBody,
  reply: z.object({
    ...answer,
    lists: z
      .record(z.string(), z.object({ count: z.number(), ops: z.array(jsonObject) }))
      .exactOptional(),
    rooms: z
      .record(
        z.string(),
        z.object({
          ...room,
          unstable_expanded_timeline: z.boolean().exactOptional(),
          invite_state: z.array(event).exactOptional(),
          notification_count: z.number().exactOptional(),
          highlight_count: z.number().exactOptional(),
        }),
      )
      .exactOptional(),
  }),
  spec,
})

export const slidingSync = endpoint({
  name: 'slidingSync',
  method: 'POST',
  auth: 'guest',
  rateLimit: 'none',
  errors: ['M_INVALID_PARAM', 'M_UNKNOWN_POS'],
  paths: ['/_matrix/client/v4/sync'],
  body: acceptedBody,
  reply: z.object({
    ...answer,
    lists: z.record(z.string(), z.object({ count: z.number() })).exactOptional(),
    rooms: z
      .record(
        z.string(),
        z.object({
          ...room,
          expanded_timeline: z.boolean().exactOptional(),
          stripped_state: z.array(event).exactOptional(),
          membership: z.string().exactOptional(),
          lists: z.array(z.string()).exactOptional(),
        }),
      )
      .exactOptional(),
  }),
  spec,
})
