/** Events of a server of several processes: what other servers send goes to the process that owns the room. */
import { z } from 'zod'
import { eventIdSchema, roomIdSchema, serverNameSchema } from '../../spec/ids.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { OwnedMethods } from '../stream/owned-methods.ts'
import type { Events } from './events.ts'

const reason = z.string()
const receipt = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('accepted') }),
  z.object({ kind: z.literal('known') }),
  z.object({ kind: z.literal('soft-failed'), reason }),
  z.object({ kind: z.literal('rejected'), reason }),
  z.object({ kind: z.literal('dropped'), reason }),
])

/** What a gap may take to fill before the events in front of it. */
const receiveMs = 120_000

/** Takes PDUs in at the owner of their room; a repetition finds them known. */
export function receiveAtOwner(
  events: Pick<Events, 'receive'>,
  methods: OwnedMethods,
): Events['receive'] {
  const receive = methods.add({
    name: 'events.receive',
    args: z.object({
      origin: serverNameSchema,
      room: roomIdSchema,
      pdus: z.array(z.custom<JsonObject>(isObject)).readonly(),
      options: z.object({ onBehalfOf: serverNameSchema.exactOptional() }),
    }),
    result: z.array(z.tuple([eventIdSchema, receipt])),
    run: async ({ origin, room, pdus, options }) => [
      ...(await events.receive(origin, room, pdus, options)),
    ],
    totalMs: receiveMs,
  })
  return async (origin, room, pdus, options = {}) =>
    new Map(await receive(room, { origin, room, pdus, options }))
}
