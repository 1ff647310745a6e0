/**
 * EDUs of other servers: checked at the border (shape, whose users they speak of, room ACL), then handed to their
 * slice. One that is wrong is dropped and spoils nothing.
 */
import type { z } from 'zod'
import type { Logger } from '../homeserver/platform/log.ts'
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
  /** Handles EDUs of one transaction; those of a kind and user in their order. Never rejects. */
  receive(
    origin: ServerName,
    edus: readonly { edu_type: string; content: JsonObject }[],
  ): Promise<void>
}

interface Needs {
  readonly handlers: EduHandlers
  readonly access: Pick<Access, 'isAllowed'>
  readonly log: Logger
}

/** Of what is done for an EDU, and whose order it has to keep. */
interface Work {
  readonly lane: string
  readonly run: () => Promise<void>
}

type Reader = (needs: Needs, origin: ServerName, content: JsonObject) => Work | undefined

export function createEdus(needs: Needs): Edus {
  async function runLane(lane: readonly Work[], origin: ServerName): Promise<void> {
    for (const { run, lane: name } of lane) {
      try {
        await run()
      } catch (error) {
        needs.log.warn({ origin, lane: name, error }, 'EDU could not be handled')
      }
    }
  }

  return {
    async receive(origin, edus) {
      const lanes = new Map<string, Work[]>()
      for (const { edu_type, content } of edus) {
        const work = readers.get(edu_type)?.(needs, origin, content)
        if (!work) continue
        const lane = lanes.get(work.lane)
        if (lane) lane.push(work)
        else lanes.set(work.lane, [work])
      }
      await Promise.all([...lanes.values()].map((lane) => runLane(lane, origin)))
    },
  }
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
      return { lane: `typing ${edu.room_id}`, run }
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
      return { lane: 'receipts', run }
    },

    'm.presence': ({ handlers }, origin, content) => {
      const edu = presenceEduSchema.safeParse(content).data
      if (!edu) return undefined
      const push = edu.push.filter(({ user_id }) => isFrom(origin, user_id))
      return { lane: 'presence', run: () => handlers.presence(origin, push) }
    },

    'm.direct_to_device': ({ handlers }, origin, content) => {
      const edu = toDeviceEduSchema.safeParse(content).data
      if (!edu || !isFrom(origin, edu.sender)) return undefined
      return { lane: `to-device ${edu.sender}`, run: () => handlers.toDevice(origin, content) }
    },

    'm.device_list_update': ({ handlers }, origin, content) => {
      const edu = deviceListEduSchema.safeParse(content).data
      if (!edu || !isFrom(origin, edu.user_id)) return undefined
      return { lane: `keys ${edu.user_id}`, run: () => handlers.deviceList(origin, content) }
    },

    'm.signing_key_update': signingKeys,
    // Its name before it was in the specification; Synapse sends both.
    'org.matrix.signing_key_update': signingKeys,
  }),
)

function signingKeys({ handlers }: Needs, origin: ServerName, content: JsonObject) {
  const edu = signingKeyEduSchema.safeParse(content).data
  if (!edu || !isFrom(origin, edu.user_id)) return undefined
  return { lane: `keys ${edu.user_id}`, run: () => handlers.signingKeys(origin, content) }
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

/** `Object.entries` with the type of the keys, which the schema has checked. */
function entriesOf<K extends string, V>(record: Readonly<Record<K, V>>): [K, V][] {
  const isKey = (key: string): key is K => Object.hasOwn(record, key)
  return Object.keys(record)
    .filter(isKey)
    .map((key) => [key, record[key]])
}
