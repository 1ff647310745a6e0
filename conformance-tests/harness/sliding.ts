/** Simplified sliding sync as today's clients speak it. */
import { z } from 'zod'
import { type Client, unique } from './client.ts'
import type { Body } from './http.ts'

export const slidingPath = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync'

const event = z.looseObject({
  type: z.string(),
  content: z.record(z.string(), z.unknown()),
  sender: z.string().optional(),
  state_key: z.string().optional(),
  event_id: z.string().optional(),
})

const room = z.looseObject({
  name: z.string().optional(),
  avatar: z.string().nullish(),
  initial: z.boolean().optional(),
  is_dm: z.boolean().optional(),
  heroes: z.array(z.looseObject({ user_id: z.string() })).optional(),
  required_state: z.array(event).default([]),
  timeline: z.array(event).default([]),
  invite_state: z.array(event).optional(),
  limited: z.boolean().optional(),
  num_live: z.number().optional(),
  prev_batch: z.string().optional(),
  joined_count: z.number().optional(),
  invited_count: z.number().optional(),
  bump_stamp: z.number().optional(),
  unstable_expanded_timeline: z.boolean().optional(),
})

const inRooms = z.looseObject({ rooms: z.record(z.string(), event) }).optional()
const slidingAnswer = z.looseObject({
  pos: z.string(),
  lists: z
    .record(
      z.string(),
      z.looseObject({
        count: z.number(),
        ops: z.array(z.looseObject({ room_ids: z.array(z.string()) })).default([]),
      }),
    )
    .default({}),
  rooms: z.record(z.string(), room).default({}),
  extensions: z
    .looseObject({
      to_device: z.looseObject({ next_batch: z.string(), events: z.array(event) }).optional(),
      e2ee: z
        .looseObject({
          device_lists: z
            .looseObject({ changed: z.array(z.string()), left: z.array(z.string()) })
            .optional(),
          device_one_time_keys_count: z.record(z.string(), z.number()),
          device_unused_fallback_key_types: z.array(z.string()),
        })
        .optional(),
      account_data: z
        .looseObject({
          global: z.array(event).default([]),
          rooms: z.record(z.string(), z.array(event)).default({}),
        })
        .optional(),
      receipts: inRooms,
      typing: inRooms,
    })
    .default({}),
})

export type SlidingAnswer = z.output<typeof slidingAnswer>
export type SlidingRoom = z.output<typeof room>

/** A connection of a client: it goes on from its last answer. */
export interface Connection {
  /** One request; the body may be another each time. */
  ask(body: Body, options?: { timeoutMs?: number; pos?: string }): Promise<SlidingAnswer>
  /** Asks until the predicate holds for an answer; the deadline is 20 s. */
  until(body: Body, test: (answer: SlidingAnswer) => boolean): Promise<SlidingAnswer>
}

const deadlineMs = 20_000
const pollMs = 3_000

export function connect(client: Client, connId = unique('conn')): Connection {
  let last: string | undefined

  const ask: Connection['ask'] = async (body, { timeoutMs = 0, pos = last } = {}) => {
    const query = { timeout: timeoutMs, pos }
    const answer = await client.call('POST', slidingPath, {
      query,
      body: { conn_id: connId, ...body },
    })
    const parsed = slidingAnswer.parse(answer)
    last = parsed.pos
    return parsed
  }

  return {
    ask,
    async until(body, test) {
      const deadline = performance.now() + deadlineMs
      for (;;) {
        const answer = await ask(body, { timeoutMs: last === undefined ? 0 : pollMs })
        if (test(answer)) return answer
        if (performance.now() > deadline) {
          throw new Error(`no answer showed it; the last: ${JSON.stringify(answer)}`)
        }
      }
    },
  }
}

/** A request for one list, with everything in it. */
export function oneList(more: Body = {}): Body {
  const list = { ranges: [[0, 99]], timeline_limit: 10, required_state: [], ...more }
  return { lists: { all: list } }
}

export function bodiesOf(one: SlidingRoom | undefined): unknown[] {
  return (one?.timeline ?? []).flatMap(({ type, content }) =>
    type === 'm.room.message' ? [content['body']] : [],
  )
}

export function keysOf(one: SlidingRoom | undefined): string[] {
  return (one?.required_state ?? []).map(({ type, state_key }) => `${type}|${state_key}`).sort()
}
