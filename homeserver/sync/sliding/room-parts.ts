/** Extensions that go by rooms: account data, receipts and typing of rooms in windows and subscriptions. */
import type { RoomId } from '../../../spec/ids.ts'
import type { JsonObject } from '../../../spec/json.ts'
import type { AccountData, AccountDatum } from '../../accounts/account-data.ts'
import type { Receipts } from '../../receipts/receipts.ts'
import type { Typing } from '../../receipts/typing.ts'
import type { Position } from '../../stream/log.ts'
import { plainEvent } from '../event-text.ts'
import type { Recent } from '../recent.ts'
import type { ExtensionScope } from './extensions.ts'
import type { RoomSelection } from './request.ts'
import { live } from './sent.ts'

export interface RoomPartsNeeds {
  readonly accountData: Pick<AccountData, 'all' | 'changedSince'>
  readonly receipts: Pick<Receipts, 'since' | 'contentOf' | 'ofEvents'>
  readonly typing: Pick<Typing, 'typingOf' | 'changedAt'>
  readonly recent: Recent
}

/** A member of `extensions`. */
export interface Part {
  readonly text: string
  readonly hasNews: boolean
}

export async function readRoomParts(
  needs: RoomPartsNeeds,
  scope: ExtensionScope,
): Promise<readonly (Part | undefined)[]> {
  return [
    await readAccountData(needs, scope),
    await readReceipts(needs, scope),
    readTyping(needs.typing, scope),
  ]
}

const chosen = new WeakMap<ExtensionScope, Map<string, ReadonlySet<RoomId>>>()

/** The rooms that an extension is about; mostly the same for all of an answer. */
function selected(selection: RoomSelection, scope: ExtensionScope): ReadonlySet<RoomId> {
  const known = chosen.get(scope) ?? new Map<string, ReadonlySet<RoomId>>()
  chosen.set(scope, known)
  const key = JSON.stringify([selection.lists, selection.rooms])
  const rooms = known.get(key) ?? select(selection, scope)
  known.set(key, rooms)
  return rooms
}

function select(
  { lists, rooms }: RoomSelection,
  { windows, subscribed }: ExtensionScope,
): ReadonlySet<RoomId> {
  const found = new Set<RoomId>()
  const named = new Set(rooms)
  for (const [name, { ranges }] of windows) {
    const isAsked = lists.includes('*') || lists.includes(name)
    for (const { rooms: shown } of ranges) {
      for (const room of shown) if (isAsked || named.has(room)) found.add(room)
    }
  }
  for (const room of subscribed) if (named.has('*') || named.has(room)) found.add(room)
  return found
}

const nobody: RoomSelection = { lists: [], rooms: [] }

/** Up to where the client has something of a room; 0 when it has nothing. */
function sentUpTo(
  { from }: ExtensionScope,
  kind: 'accountData' | 'receipts',
  room: RoomId,
): Position {
  const upTo = from?.sent[kind].get(room)
  if (from === undefined || upTo === undefined) return 0
  return upTo === live ? from.position : upTo
}

/** Remembers which rooms are up to date now, and which have fallen behind. */
function remember(
  { from, draft }: ExtensionScope,
  kind: 'accountData' | 'receipts',
  sent: ReadonlySet<RoomId>,
  hasNews: (room: RoomId) => boolean,
): void {
  for (const room of sent) draft.mark(kind, room, live)
  for (const [room, upTo] of from?.sent[kind] ?? []) {
    if (upTo !== live || sent.has(room) || from === undefined || !hasNews(room)) continue
    draft.mark(kind, room, from.position)
  }
}

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3959} */
async function readAccountData(
  { accountData, recent }: RoomPartsNeeds,
  scope: ExtensionScope,
): Promise<Part | undefined> {
  const { user, from, upTo, extensions } = scope
  const asked = extensions.accountData
  const rooms = selected(asked ?? nobody, scope)
  const after = new Map([...rooms].map((room) => [room, sentUpTo(scope, 'accountData', room)]))
  const since = from?.position ?? 0
  const oldest = Math.min(since, ...after.values())
  const isQuiet = recent.covers(oldest) && !recent.hasAccountData(user, oldest, upTo)
  const isUsed = asked !== undefined || (from !== undefined && from.sent.accountData.size > 0)
  const data = !isUsed || (oldest > 0 && isQuiet) ? [] : await read()
  const global = data.filter(({ room, position }) => room === undefined && isNew(position, since))
  const byRoom = new Map<RoomId, AccountDatum[]>()
  const changed = new Set<RoomId>()
  for (const datum of data) {
    const { room, position } = datum
    if (room === undefined) continue
    if (position > since) changed.add(room)
    const known = after.get(room)
    if (known === undefined || position <= known) continue
    byRoom.set(room, [...(byRoom.get(room) ?? []), datum])
  }
  remember(scope, 'accountData', rooms, (room) => changed.has(room))
  if (asked === undefined) return undefined
  const texts = [...byRoom].map(([room, list]) => `${JSON.stringify(room)}:${eventsText(list)}`)
  const text = `"account_data":{"global":${eventsText(global)},"rooms":{${texts.join(',')}}}`
  return { text, hasNews: global.length + texts.length > 0 }

  function isNew(position: Position, known: Position): boolean {
    return from === undefined || position > known
  }

  async function read(): Promise<readonly AccountDatum[]> {
    if (oldest === 0) return await accountData.all(user, upTo)
    return await accountData.changedSince(user, oldest, upTo)
  }
}

function eventsText(data: readonly AccountDatum[]): string {
  return `[${data.map(({ type, content }) => plainEvent(type, content)).join(',')}]`
}

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3960} */
async function readReceipts(
  needs: RoomPartsNeeds,
  scope: ExtensionScope,
): Promise<Part | undefined> {
  const asked = scope.extensions.receipts
  const rooms = new Set([...selected(asked ?? nobody, scope)].filter(scope.isJoined))
  const found = asked === undefined ? new Map() : await receiptsOf(needs, rooms, scope)
  remember(scope, 'receipts', rooms, (room) => hasReceipts(needs.recent, room, scope))
  if (asked === undefined) return undefined
  const texts = [...found].map(
    ([room, content]) =>
      `${JSON.stringify(room)}:${plainEvent('m.receipt', JSON.stringify(content))}`,
  )
  return { text: `"receipts":{"rooms":{${texts.join(',')}}}`, hasNews: texts.length > 0 }
}

/** May there be one that was not sent: yes, when that is not remembered. */
function hasReceipts(recent: Recent, room: RoomId, { from, upTo }: ExtensionScope): boolean {
  const after = from?.position ?? 0
  if (!recent.covers(after)) return true
  return recent.ofRoom(room, after, upTo).some(({ kind }) => kind === 'receipt')
}

/** Of a room that begins anew those of the timeline and the user's own, of others what moved since. */
async function receiptsOf(
  { receipts, recent }: RoomPartsNeeds,
  rooms: ReadonlySet<RoomId>,
  scope: ExtensionScope,
): Promise<ReadonlyMap<RoomId, JsonObject>> {
  const { upTo, user: viewer, shown, ignored } = scope
  const found = new Map<RoomId, JsonObject>()
  const toRead = new Map<Position, RoomId[]>()
  const begun: RoomId[] = []
  for (const room of rooms) {
    const after = sentUpTo(scope, 'receipts', room)
    if (after === 0 || shown.get(room)?.isWhole === true) begun.push(room)
    else if (!recent.covers(after)) toRead.set(after, [...(toRead.get(after) ?? []), room])
    else {
      const rows = recent.ofRoom(room, after, upTo).filter(({ kind }) => kind === 'receipt')
      const content = rows.length === 0 ? undefined : receipts.contentOf(rows, viewer, ignored)
      if (content !== undefined) found.set(room, content)
    }
  }
  for (const [after, behind] of toRead) {
    for (const [room, content] of await receipts.since(behind, { after, upTo, viewer, ignored })) {
      found.set(room, content)
    }
  }
  if (begun.length === 0) return found
  const events = begun.flatMap((room) => shown.get(room)?.ids ?? [])
  for (const [room, content] of await receipts.ofEvents(begun, events, { upTo, viewer, ignored })) {
    found.set(room, content)
  }
  return found
}

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3961} */
function readTyping(typing: RoomPartsNeeds['typing'], scope: ExtensionScope): Part | undefined {
  const asked = scope.extensions.typing
  if (asked === undefined) return undefined
  const texts: string[] = []
  for (const room of selected(asked, scope)) {
    if (!scope.isJoined(room)) continue
    const isNew = scope.typing === undefined || scope.shown.get(room)?.isWhole === true
    if (!isNew && typing.changedAt(room) <= (scope.typing ?? 0)) continue
    const users = typing.typingOf(room).filter((user) => !scope.ignored.has(user))
    if (isNew && users.length === 0) continue
    const content = JSON.stringify({ user_ids: users })
    texts.push(`${JSON.stringify(room)}:${plainEvent('m.typing', content)}`)
  }
  return { text: `"typing":{"rooms":{${texts.join(',')}}}`, hasNews: texts.length > 0 }
}
