/** The answers that tests walk through, as schemas: an answer of another shape fails the test that read it. */
import { z } from 'zod'

const json = z.record(z.string(), z.unknown())

/** An event as clients see it. */
export const event = z.looseObject({
  type: z.string(),
  content: json,
  sender: z.string().default(''),
  event_id: z.string().default(''),
  origin_server_ts: z.number().default(0),
  state_key: z.string().optional(),
  redacts: z.string().optional(),
  room_id: z.string().optional(),
  unsigned: json.default({}),
})
export type ClientEvent = z.infer<typeof event>

const events = z.looseObject({ events: z.array(event).default([]) }).default({ events: [] })
const timeline = z
  .looseObject({
    events: z.array(event).default([]),
    limited: z.boolean().default(false),
    prev_batch: z.string().optional(),
  })
  .default({ events: [], limited: false })

const joined = z.looseObject({
  timeline,
  state: events,
  ephemeral: events,
  account_data: events,
  summary: json.default({}),
  unread_notifications: json.default({}),
})
const left = z.looseObject({ timeline, state: events, account_data: events })
const invited = z.looseObject({ invite_state: events })
const knocked = z.looseObject({ knock_state: events })
const rooms = z.looseObject({
  join: z.record(z.string(), joined).default({}),
  leave: z.record(z.string(), left).default({}),
  invite: z.record(z.string(), invited).default({}),
  knock: z.record(z.string(), knocked).default({}),
})

/** An answer of `/sync`, with every absent part filled in empty. */
export const syncAnswer = z.looseObject({
  next_batch: z.string(),
  rooms: rooms.default({ join: {}, leave: {}, invite: {}, knock: {} }),
  presence: events,
  account_data: events,
  to_device: events,
  device_lists: z
    .looseObject({
      changed: z.array(z.string()).default([]),
      left: z.array(z.string()).default([]),
    })
    .default({ changed: [], left: [] }),
  device_one_time_keys_count: z.record(z.string(), z.number()).default({}),
  device_unused_fallback_key_types: z.array(z.string()).optional(),
})
export type SyncAnswer = z.infer<typeof syncAnswer>

/** An answer of `/messages`. */
export const messagesAnswer = z.looseObject({
  chunk: z.array(event),
  start: z.string(),
  end: z.string().optional(),
  state: z.array(event).default([]),
})
export type MessagesAnswer = z.infer<typeof messagesAnswer>

/** What registration and login answer. */
export const sessionAnswer = z.looseObject({
  user_id: z.string(),
  access_token: z.string(),
  device_id: z.string(),
})
export type Session = z.infer<typeof sessionAnswer>

/** Answers of which a test wants one string. */
export const eventIdAnswer = z.looseObject({ event_id: z.string() })
export const roomIdAnswer = z.looseObject({ room_id: z.string() })
export const flowsAnswer = z.looseObject({
  session: z.string(),
  flows: z.array(z.looseObject({ stages: z.array(z.string()) })),
})
