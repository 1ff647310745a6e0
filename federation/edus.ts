/**
 * EDUs of other servers: checked at the border (shape, whose users they speak of, room ACL), then handed to their
 * slice. One that is wrong is dropped and spoils nothing. A server that sends too many loses those that may be lost,
 * and waits with the others.
 */
import type { z } from 'zod'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import { MatrixError } from '../spec/errors.ts'
import {
  deviceListEduSchema,
  presenceEduSchema,
  receiptEduSchema,
  signingKeyEduSchema,
  toDeviceEduSchema,
  typingEduSchema,
} from '../spec/events/edus.ts'
import { type RoomId, type ServerName, serverOfUser, type UserId } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import type { Access } from './access.ts'
import { createBudget } from './budget.ts'

export type TypingEdu = z.output<typeof typingEduSchema>
/** Receipts of one room: type, user, receipt. */
export type RoomReceipts = z.output<typeof receiptEduSchema>[RoomId]
export type PresencePush = z.output<typeof presenceEduSchema>['push'][number]

/** The slices that EDUs are for; each gets only what its sender may say. */
export interface EduHandlers {
  typing(origin: ServerName, edu: TypingEdu): Promise<void>
  receipts(origin: ServerName, room: RoomId, receipts: RoomReceipts): Promise<void>
  presence(origin: ServerName, push: readonly PresencePush[]): Promise<void>
  toDevice(origin: ServerName, content: JsonObject): Promise<void>
  deviceList(origin: ServerName, content: JsonObject): Promise<void>
  signingKeys(origin: ServerName, content: JsonObject): Promise<void>
}

export interface Edus {
  /**
   * Waits while the server has sent more than its share of what must arrive.
   * @throws MatrixError M_LIMIT_EXCEEDED when that takes too long
   */
  admit(origin: ServerName): Promise<void>
  /**
   * Handles EDUs of one transaction; those of a kind and user in their order.
   * @throws what hindered one that must arrive: the transaction has to be sent again
   */
  receive(
    origin: ServerName,
    edus: readonly { edu_type: string; content: JsonObject }[],
  ): Promise<void>
}

interface Needs {
  readonly handlers: EduHandlers
  readonly access: Pick<Access, 'isAllowed'>
  readonly clock: Clock
  readonly log: Logger
}

/** What is done for an EDU, and whose order it has to keep. */
interface Work {
  readonly lane: string
  readonly run: () => Promise<void>
  /** How much of the server's share it takes. */
  readonly cost: number
  readonly mustArrive: boolean
}

/** Typists, receipts and states of presence of one server; what is more is dropped. */
export const ephemeralLimits = { burst: 5_000, perSecond: 500 }
/** Messages to devices and changes of keys of one server; what is more has to wait. */
export const messagesLimits = { burst: 20_000, perSecond: 1_000 }
const waitMaxMs = 10_000
const lookEveryMs = 100

type Reader = (needs: Needs, origin: ServerName, content: JsonObject) => Work | undefined

export function createEdus(needs: Needs): Edus {
  const { clock, log } = needs
  const ephemeral = createBudget(ephemeralLimits, clock)
  const messages = createBudget(messagesLimits, clock)

  function isWithinShare(origin: ServerName, { mustArrive, cost }: Work): boolean {
    const budget = mustArrive ? messages : ephemeral
    const isWithin = mustArrive || budget.has(origin)
    budget.spend(origin, isWithin ? cost : 0)
    return isWithin
  }

  async function runLane(lane: readonly Work[], origin: ServerName): Promise<void> {
    let hindrance: { readonly error: unknown } | undefined
    for (const { run, lane: name, mustArrive } of lane) {
      try {
        await run()
      } catch (error) {
        log.warn({ origin, lane: name, error }, 'EDU could not be handled')
        if (mustArrive && !isRefusal(error)) hindrance ??= { error }
      }
    }
    if (hindrance !== undefined) throw hindrance.error
  }

  return {
    async admit(origin) {
      for (let waitedMs = 0; !messages.has(origin); waitedMs += lookEveryMs) {
        if (waitedMs >= waitMaxMs) messages.require(origin)
        await clock.sleep(lookEveryMs)
      }
    },
    async receive(origin, edus) {
      const lanes = new Map<string, Work[]>()
      let dropped = 0
      for (const { edu_type, content } of edus) {
        const work = readers.get(edu_type)?.(needs, origin, content)
        if (!work) continue
        if (!isWithinShare(origin, work)) {
          dropped++
          continue
        }
        const lane = lanes.get(work.lane)
        if (lane) lane.push(work)
        else lanes.set(work.lane, [work])
      }
      if (dropped > 0) log.info({ origin, dropped }, 'more EDUs than one server may send')
      const results = await Promise.allSettled(
        [...lanes.values()].map((lane) => runLane(lane, origin)),
      )
      const hindered = results.find((result) => result.status === 'rejected')
      if (hindered !== undefined) throw hindered.reason
    },
  }
}

/** Was it the EDU's own fault. */
function isRefusal(error: unknown): boolean {
  return error instanceof MatrixError && error.status < 500
}

/** A map: an EDU's type is a stranger's word. */
const readers: ReadonlyMap<string, Reader> = new Map(
  Object.entries<Reader>({
    'm.typing': ({ handlers, access }, origin, content) => {
      const edu = typingEduSchema.safeParse(content).data
      if (!edu || !isFrom(origin, edu.user_id)) return undefined
      const run = async () => {
        if (await access.isAllowed(origin, edu.room_id)) await handlers.typing(origin, edu)
      }
      return { lane: `typing ${edu.room_id}`, run, cost: 1, mustArrive: false }
    },

    'm.receipt': ({ handlers, access }, origin, content) => {
      const rooms = receiptEduSchema.safeParse(content).data
      if (!rooms) return undefined
      const run = async () => {
        for (const [room, receipts] of entriesOf(rooms)) {
          // All receipts of a room that the ACL shuts the server out of must be ignored.
          const own = ofOrigin(origin, receipts)
          if (await access.isAllowed(origin, room)) await handlers.receipts(origin, room, own)
        }
      }
      const cost = entriesOf(rooms).reduce((sum, [, receipts]) => sum + countOf(receipts), 0)
      return { lane: 'receipts', run, cost, mustArrive: false }
    },

    'm.presence': ({ handlers }, origin, content) => {
      const edu = presenceEduSchema.safeParse(content).data
      if (!edu) return undefined
      const push = edu.push.filter(({ user_id }) => isFrom(origin, user_id))
      const run = () => handlers.presence(origin, push)
      return { lane: 'presence', run, cost: push.length, mustArrive: false }
    },

    'm.direct_to_device': ({ handlers }, origin, content) => {
      const edu = toDeviceEduSchema.safeParse(content).data
      if (!edu || !isFrom(origin, edu.sender)) return undefined
      const run = () => handlers.toDevice(origin, content)
      const cost = Math.max(1, countOf(edu.messages))
      return { lane: `to-device ${edu.sender}`, run, cost, mustArrive: true }
    },

    'm.device_list_update': ({ handlers }, origin, content) => {
      const edu = deviceListEduSchema.safeParse(content).data
      if (!edu || !isFrom(origin, edu.user_id)) return undefined
      const run = () => handlers.deviceList(origin, content)
      return { lane: `keys ${edu.user_id}`, run, cost: 1, mustArrive: true }
    },

    'm.signing_key_update': signingKeys,
    // Its name before it was in the specification; Synapse sends both.
    'org.matrix.signing_key_update': signingKeys,
  }),
)

function signingKeys(
  { handlers }: Needs,
  origin: ServerName,
  content: JsonObject,
): Work | undefined {
  const edu = signingKeyEduSchema.safeParse(content).data
  if (!edu || !isFrom(origin, edu.user_id)) return undefined
  const run = () => handlers.signingKeys(origin, content)
  return { lane: `keys ${edu.user_id}`, run, cost: 1, mustArrive: true }
}

function isFrom(origin: ServerName, user: UserId): boolean {
  return serverOfUser(user) === origin
}

/** A server may only tell what its own users have read. */
function ofOrigin(origin: ServerName, receipts: RoomReceipts): RoomReceipts {
  return Object.fromEntries(
    Object.entries(receipts).map(([type, users]) => [
      type,
      Object.fromEntries(entriesOf(users).filter(([user]) => isFrom(origin, user))),
    ]),
  )
}

/** Entries of the second level. */
function countOf(record: Readonly<Record<string, object>>): number {
  return Object.values(record).reduce((sum, inner) => sum + Object.keys(inner).length, 0)
}

/** `Object.entries` with the type of the keys, which the schema has checked. */
function entriesOf<K extends string, V>(record: Readonly<Record<K, V>>): [K, V][] {
  const isKey = (key: string): key is K => Object.hasOwn(record, key)
  return Object.keys(record)
    .filter(isKey)
    .map((key) => [key, record[key]])
}
