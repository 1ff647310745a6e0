import { z } from 'zod'

/** What the checker and its workers say to each other, over the child process's channel. */

/** To a worker. Requests are numbers; a request's room is its number modulo the rooms. */
export const Order = z.discriminatedUnion('type', [
  z.object({ type: z.literal('do'), requests: z.array(z.number()) }),
  z.object({ type: z.literal('finish') }),
])
export type Order = z.infer<typeof Order>

/** From a worker. */
export const Report = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready'), self: z.string() }),
  /** Answered requests, flat: request, position, request, position …; 0 for one that had been written before. */
  z.object({ type: z.literal('done'), acks: z.array(z.number()) }),
  /** Answered writes without a key, which only this worker knows of: number, position, … */
  z.object({ type: z.literal('free'), self: z.string(), acks: z.array(z.number()) }),
  /** Something that must not happen. */
  z.object({ type: z.literal('wrong'), what: z.string() }),
  /** What its tail saw: every row after `start` up to `end`. */
  z.object({
    type: z.literal('finished'),
    self: z.string(),
    start: z.number(),
    end: z.number(),
    rows: z.number(),
    sum: z.number(),
    verdicts: z.record(z.string(), z.number()),
  }),
])
export type Report = z.infer<typeof Report>

/** How a worker is started, as JSON in its first argument. */
export const WorkerSettings = z.object({
  databaseUrl: z.string(),
  redisUrl: z.string().optional(),
  rooms: z.number(),
})
export type WorkerSettings = z.infer<typeof WorkerSettings>

/** Postgres cannot add up a million positions below 2^53 exactly in a double: sums are kept modulo this prime. */
export const sumModulus = 1_000_000_007
