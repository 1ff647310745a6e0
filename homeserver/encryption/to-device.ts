/**
 * Owns the messages that wait for devices. One is in every answer until the device comes back with a token past it,
 * and in none after; a repeated request has one effect.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging}
 */
import { badJson, MatrixError } from '../../spec/errors.ts'
import {
  type DeviceId,
  isUserId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { isObject, type JsonObject, stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable } from '../database/stored-text.ts'
import { eduEntry } from '../destinations/destinations.ts'
import type { Random } from '../platform/random.ts'
import type { Requester } from '../rooms/rooms.ts'
import type { LogEntry, LogWrite, LogWriter, Tail } from '../stream/log.ts'
import { refusal } from '../stream/settled.ts'
import { createInboxes, type ToDeviceMessage } from './inboxes.ts'
import type { ToDeviceRow } from './queries.ts'
import * as queries from './queries.ts'

/** The payload of log rows of kind toDevice. */
export type ToDevicePayload = Omit<ToDeviceMessage, 'position'>

/** Messages by user and device; the device `*` stands for all of a user's devices. */
type ToDeviceMessages = Readonly<Record<string, JsonObject>>

export interface ToDevice {
  /** A repetition of (device, type, txnId) does nothing. Unknown devices are passed over. */
  send(who: Requester, type: string, messages: ToDeviceMessages, txnId: string): Promise<void>
  /** The oldest `limit` with after < position <= upTo. No query while nothing waits. */
  pending(
    user: UserId,
    device: DeviceId,
    range: { after: number; upTo: number; limit: number },
  ): Promise<readonly ToDeviceMessage[]>
  /** The device has everything at or below `upTo`: it is deleted behind the answer. */
  acknowledge(user: UserId, device: DeviceId, upTo: number): void
  /** An m.direct_to_device EDU of another server; one of the same id does nothing. */
  receiveRemote(origin: ServerName, content: JsonObject): Promise<void>
  /** Resolves when what was acknowledged so far is deleted. */
  drained(): Promise<void>
}

export interface ToDeviceNeeds {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe' | 'loader'>
  readonly random: Random
  readonly serverName: ServerName
  /** Devices of local users. */
  readonly deviceNames: (
    users: readonly UserId[],
  ) => Promise<ReadonlyMap<UserId, ReadonlyMap<DeviceId, unknown>>>
}

const typeBytesMax = 255
const messagesMax = 20_000
const messageIdBytesMax = 255
const eduBytesMax = 50_000

interface Message {
  readonly user: UserId
  readonly device: string
  readonly content: JsonObject
}

export function createToDevice(needs: ToDeviceNeeds): ToDevice {
  const { db, log, serverName } = needs
  const inboxes = createInboxes(needs)
  needs.tail.loader('toDevice', async (rows) => {
    const keys = rows.map((row) => ({
      user: row.user ?? '',
      device: row.ref,
      position: row.position,
    }))
    const found = new Map(
      (await queries.messagesByKeys(db, keys)).map((row) => [row.position, row]),
    )
    return rows.map((row) => payloadOf(found.get(row.position)))
  })

  /** Entries for devices of this server; `*` and unknown devices are resolved here. */
  async function localEntries(
    sender: UserId,
    type: string,
    messages: readonly Message[],
  ): Promise<LogEntry[]> {
    if (messages.length === 0) return []
    const known = await needs.deviceNames([...new Set(messages.map((m) => m.user))])
    return messages.flatMap(({ user, device, content }) => {
      const devices = known.get(user) ?? new Map<DeviceId, unknown>()
      const text = JSON.stringify(content)
      const targets =
        device === '*' ? [...devices.keys()] : [...devices.keys()].filter((id) => id === device)
      return targets.map((target) => messageEntry(user, target, { sender, type, content: text }))
    })
  }

  /** EDUs of a bounded size: receivers refuse what is larger than an event may be. */
  function remoteEntries(sender: UserId, type: string, messages: readonly Message[]): LogEntry[] {
    return bundlesOf(messages).map(({ server, users }) => {
      const content = { sender, type, message_id: needs.random.text(32), messages: users }
      return eduEntry(server, { edu_type: 'm.direct_to_device', content })
    })
  }

  async function write(write: LogWrite, receivers: readonly LogEntry[]): Promise<void> {
    const verdict = await log.write(write)
    if (verdict.kind !== 'done' && verdict.kind !== 'duplicate') throw refusal(verdict)
    if (verdict.kind === 'done') inboxes.grown(receivers)
  }

  return {
    async send(who, type, messages, txnId) {
      requireStorable('eventType', type, typeBytesMax)
      requireStorable('txnId', txnId, typeBytesMax)
      const all = messagesIn(messages)
      const here = await localEntries(
        who.user,
        type,
        all.filter((m) => serverOfUser(m.user) === serverName),
      )
      const there = remoteEntries(
        who.user,
        type,
        all.filter((m) => serverOfUser(m.user) !== serverName),
      )
      const key = JSON.stringify([who.user, who.device ?? '', type, txnId])
      await write(
        { once: { scope: 'to_device', key, answer: '' }, entries: [...here, ...there] },
        here,
      )
    },
    async receiveRemote(origin, content) {
      const { sender, messages } = content
      const type = stringAt(content, 'type')
      const messageId = stringAt(content, 'message_id')
      if (!isUserId(sender) || serverOfUser(sender) !== origin) return
      if (type === undefined || messageId === undefined || !isObject(messages)) return
      requireStorable('type', type, typeBytesMax)
      requireStorable('message_id', messageId, messageIdBytesMax)
      const local = remoteMessages(messages).filter((m) => serverOfUser(m.user) === serverName)
      const entries = await localEntries(sender, type, local)
      const key = JSON.stringify([origin, messageId])
      await write({ once: { scope: 'to_device_edu', key, answer: '' }, entries }, entries)
    },
    pending: inboxes.pending,
    acknowledge: inboxes.acknowledge,
    drained: inboxes.drained,
  }
}

/** Throws M_BAD_JSON naming the field. */
function messagesIn(messages: ToDeviceMessages): Message[] {
  const out: Message[] = []
  for (const [user, devices] of Object.entries(messages)) {
    if (!isUserId(user)) throw badJson(`messages.${user}`, 'not a user id')
    if (!isObject(devices)) throw badJson(`messages.${user}`, 'not an object')
    for (const [device, content] of Object.entries(devices)) {
      if (!isObject(content)) throw badJson(`messages.${user}.${device}`, 'not an object')
      out.push({ user, device, content })
      if (out.length > messagesMax)
        throw new MatrixError('M_TOO_LARGE', `more than ${messagesMax} messages`)
    }
  }
  return out
}

/** What does not fit is left out: one bad part of an EDU does not take the others with it. */
function remoteMessages(messages: JsonObject): Message[] {
  const out: Message[] = []
  for (const [user, devices] of Object.entries(messages)) {
    if (!isUserId(user) || !isObject(devices)) continue
    for (const [device, content] of Object.entries(devices)) {
      if (isObject(content) && out.length < messagesMax) out.push({ user, device, content })
    }
  }
  return out
}

interface Bundle {
  readonly server: ServerName
  readonly users: Record<string, Record<string, JsonObject>>
  bytes: number
}

/** Messages by server, in bundles of at most `eduBytesMax` (or of one message that is larger). */
function bundlesOf(messages: readonly Message[]): readonly Bundle[] {
  const bundles: Bundle[] = []
  const open = new Map<ServerName, Bundle>()
  for (const { user, device, content } of messages) {
    const server = serverOfUser(user)
    const bytes = Buffer.byteLength(JSON.stringify(content)) + user.length + device.length + 16
    let bundle = open.get(server)
    if (bundle === undefined || bundle.bytes + bytes > eduBytesMax) {
      bundle = { server, users: {}, bytes: 0 }
      open.set(server, bundle)
      bundles.push(bundle)
    }
    bundle.bytes += bytes
    bundle.users[user] = { ...bundle.users[user], [device]: content }
  }
  return bundles
}

function messageEntry(user: UserId, device: DeviceId, payload: ToDevicePayload): LogEntry {
  const row = { user_id: user, device_id: device, ...payload }
  return { kind: 'toDevice', user, ref: device, payload, tables: { to_device: [row] } }
}

/** A message that is gone again before this process saw its row has no payload. */
function payloadOf(row: ToDeviceRow | undefined): ToDevicePayload | undefined {
  return row && { sender: row.sender, type: row.type, content: row.content }
}
