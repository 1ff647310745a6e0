/** The whole border to other servers over a built engine: what answers them, and what sends to them. */
import type { RequestListener } from 'node:http'
import type { DeviceLists } from '../homeserver/encryption/device-lists.ts'
import type { ToDevice } from '../homeserver/encryption/to-device.ts'
import type { Events } from '../homeserver/events/events.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Random } from '../homeserver/platform/random.ts'
import type { Presence } from '../homeserver/presence/presence.ts'
import type { Receipts } from '../homeserver/receipts/receipts.ts'
import type { Typing } from '../homeserver/receipts/typing.ts'
import type { Memberships } from '../homeserver/rooms/rooms.ts'
import type { Processes } from '../homeserver/stream/log.ts'
import type { SigningKey } from '../spec/crypto/ed25519.ts'
import type { ServerName } from '../spec/ids.ts'
import type { EduHandlers } from './edus.ts'
import { tellEphemeral } from './ephemeral.ts'
import { createInbound, type InboundNeeds } from './inbound.ts'
import type { Outbound } from './outbound.ts'
import { createSender } from './sender.ts'
import type { ReadableLog } from './sender-cursor.ts'
import type { FederationLimits } from './server.ts'

/** What the border asks of the engine. */
export interface Engine
  extends Pick<
    InboundNeeds,
    | 'rooms'
    | 'spaces'
    | 'openid'
    | 'membership'
    | 'thirdParty'
    | 'profiles'
    | 'encryption'
    | 'media'
  > {
  readonly events: Events
  readonly memberships: Pick<Memberships, 'ofUser' | 'ofRoom' | 'localJoined' | 'joinedCount'>
  readonly typing: Pick<Typing, 'onTyping' | 'onRemoteTyping'>
  readonly receipts: Pick<Receipts, 'onRemoteReceipts'>
  readonly presence: Pick<Presence, 'onChange' | 'peek' | 'onRemotePresence'>
  readonly toDevice: Pick<ToDevice, 'receiveRemote'>
  readonly deviceLists: Pick<DeviceLists, 'onRemoteDeviceListUpdate' | 'onRemoteSigningKeyUpdate'>
}

export interface Federation extends AsyncDisposable {
  readonly listener: RequestListener
  /** Begins to send; called once, when the log's tail has started. */
  start(): Promise<void>
}

export function createFederation(needs: {
  readonly serverName: ServerName
  readonly key: SigningKey
  /** Of this program. */
  readonly version: string
  /** Host and port for other servers, when they are not where the server name says. */
  readonly federationAddress?: string
  readonly limits: FederationLimits
  readonly isTrustedProxy: (address: string) => boolean
  /** Whether servers tell each other who is online. */
  readonly tellsPresence: boolean
  /** Most joined users of a room whose servers are told who is online in it. */
  readonly presenceMembersMax?: number
  readonly outbound: Outbound
  readonly engine: Engine
  readonly tail: ReadableLog
  readonly processes: Processes
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}): Federation {
  const { engine, outbound } = needs
  const listener = createInbound({
    ...needs,
    ...engine,
    edus: handlersOf(engine, needs.tellsPresence),
  })
  const sender = createSender({ ...needs, ...outbound, events: engine.events })
  let ephemeral: Disposable | undefined
  return {
    listener,
    async start() {
      await sender.start()
      ephemeral = tellEphemeral({ ...needs, ...engine, sender })
    },
    async [Symbol.asyncDispose]() {
      ephemeral?.[Symbol.dispose]()
      await sender[Symbol.asyncDispose]()
    },
  }
}

function handlersOf(
  { typing, receipts, presence, toDevice, deviceLists }: Engine,
  hearsPresence: boolean,
): EduHandlers {
  return {
    typing: typing.onRemoteTyping,
    receipts: receipts.onRemoteReceipts,
    presence: hearsPresence ? presence.onRemotePresence : async () => {},
    toDevice: toDevice.receiveRemote,
    deviceList: deviceLists.onRemoteDeviceListUpdate,
    signingKeys: deviceLists.onRemoteSigningKeyUpdate,
  }
}
