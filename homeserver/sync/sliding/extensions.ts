/** What an answer has beside rooms, for those who asked for it. */
import type { DeviceId, RoomId, UserId } from '../../../spec/ids.ts'
import type { DeviceLists } from '../../encryption/device-lists.ts'
import type { Encryption } from '../../encryption/encryption.ts'
import type { ToDevice } from '../../encryption/to-device.ts'
import type { Position } from '../../stream/log.ts'
import { objectOf } from '../event-text.ts'
import type { ListWindow } from './lists.ts'
import type { Extensions } from './request.ts'
import { slidingLimits } from './request.ts'
import { type Part, type RoomPartsNeeds, readRoomParts } from './room-parts.ts'
import type { SentDraft } from './sent.ts'
import type { Span } from './tasks.ts'
import { readThreadPart, type ThreadPartNeeds } from './thread-part.ts'

export interface ExtensionsNeeds extends RoomPartsNeeds, ThreadPartNeeds {
  readonly toDevice: Pick<ToDevice, 'pending'>
  readonly deviceLists: Pick<DeviceLists, 'changedFor'>
  readonly encryption: Pick<Encryption, 'counts' | 'unusedFallback'>
}

/** What extensions go by. */
export interface ExtensionScope extends Span {
  readonly device: DeviceId | undefined
  readonly extensions: Extensions
  /** Stamp of typing that was seen. */
  readonly typing: number | undefined
  readonly ignored: ReadonlySet<UserId>
  /** Windows of each list, and the rooms subscribed to. */
  readonly windows: ReadonlyMap<string, ListWindow>
  readonly subscribed: ReadonlySet<RoomId>
  readonly isJoined: (room: RoomId) => boolean
  /** Timelines of rooms that are in the answer; `isWhole` for those that begin anew. */
  readonly shown: ReadonlyMap<
    RoomId,
    { readonly isWhole: boolean; readonly ids: readonly string[] }
  >
  readonly draft: SentDraft
}

export interface ExtensionsFound {
  readonly text: string
  /** There is something that the client does not have. */
  readonly hasNews: boolean
}

export async function readExtensions(
  needs: ExtensionsNeeds,
  scope: ExtensionScope,
): Promise<ExtensionsFound> {
  const parts = [
    await readToDevice(needs.toDevice, scope),
    await readE2ee(needs, scope),
    ...(await readRoomParts(needs, scope)),
    await readThreadPart(needs, scope),
  ].filter((part) => part !== undefined)
  return {
    text: objectOf(parts.map(({ text }) => text)),
    hasNews: parts.some(({ hasNews }) => hasNews),
  }
}

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3885} */
async function readToDevice(
  toDevice: Pick<ToDevice, 'pending'>,
  { user, device, upTo, extensions }: ExtensionScope,
): Promise<Part | undefined> {
  if (extensions.toDevice === undefined) return undefined
  const { since = 0, limit: asked } = extensions.toDevice
  const limit = Math.min(asked, slidingLimits.toDeviceMax)
  const isAhead = since > upTo
  const messages =
    device === undefined || isAhead || limit === 0
      ? []
      : await toDevice.pending(user, device, { after: since, upTo, limit })
  const isCut = limit === 0 || messages.length >= limit
  const last: Position = isAhead || limit === 0 ? since : upTo
  const next = isCut ? (messages.at(-1)?.position ?? since) : last
  const texts = messages.map(
    ({ sender, type, content }) =>
      `{"sender":${JSON.stringify(sender)},"type":${JSON.stringify(type)},"content":${content}}`,
  )
  return {
    text: `"to_device":{"next_batch":"${next}","events":[${texts.join(',')}]}`,
    hasNews: texts.length > 0,
  }
}

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3884} */
async function readE2ee(
  { deviceLists, encryption }: ExtensionsNeeds,
  { user, device, from, upTo, extensions }: ExtensionScope,
): Promise<Part | undefined> {
  if (extensions.e2ee === undefined) return undefined
  const lists = from && (await deviceLists.changedFor(user, from.position, upTo))
  const counts = device === undefined ? {} : await encryption.counts(user, device)
  const unused = device === undefined ? [] : await encryption.unusedFallback(user, device)
  const text = objectOf([
    lists &&
      `"device_lists":${JSON.stringify({ changed: [...lists.changed], left: [...lists.left] })}`,
    `"device_one_time_keys_count":${JSON.stringify(counts)}`,
    `"device_unused_fallback_key_types":${JSON.stringify(unused)}`,
  ])
  const hasNews = lists !== undefined && lists.changed.size + lists.left.size > 0
  return { text: `"e2ee":${text}`, hasNews }
}
