/**
 * GET /sync: everything that a client has to learn since it last asked, and a wait while there is nothing. An answer
 * holds what the log has up to one position, and the next one begins there: nothing is told twice or left out.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#syncing}
 */

import type { RoomId } from '../../spec/ids.ts'
import type { AccountData } from '../accounts/account-data.ts'
import type { Database } from '../database/database.ts'
import type { ToDevice } from '../encryption/to-device.ts'
import type { Seen } from '../events/events.ts'
import type { Random } from '../platform/random.ts'
import type { Presence } from '../presence/presence.ts'
import type { Typing } from '../receipts/typing.ts'
import { readStrippedState } from '../rooms/invite-state.ts'
import type { Requester } from '../rooms/rooms.ts'
import type { Tail } from '../stream/log.ts'
import { type Composed, type ComposeNeeds, compose, composeWhole } from './compose.ts'
import { objectOf } from './event-text.ts'
import { createFilters } from './filters.ts'
import { createSentMembers } from './lazy-members.ts'
import { readKeyCounts } from './other-parts.ts'
import { peek } from './peek.ts'
import { coalesced } from './pieces.ts'
import { createRecent } from './recent.ts'
import {
  type Asked,
  readSince,
  type Since,
  type StateAfterName,
  tooFarAhead,
  writeToken,
} from './request.ts'
import { createMemberSummaries } from './sliding/member-summaries.ts'
import { createSlidingSync, type SlidingNeeds, type SlidingSync } from './sliding/sliding.ts'
import { createWaiters, type Watch } from './waiters.ts'

export interface Sync extends SlidingSync {
  /**
   * The answer as JSON text, in pieces when it is everything that a client is to know; resolves early when the signal
   * is aborted.
   */
  sync(
    who: Requester,
    request: SyncRequest,
    signal: AbortSignal,
  ): Promise<string | AsyncIterable<string>>
  /** A token after which everything that happens from now on is told. */
  now(): string
  /** New events of a room that the requester may look at, and where to go on; waits while there are none. */
  peek(
    who: Requester,
    request: { readonly room: RoomId; readonly since?: string; readonly timeoutMs: number },
    signal: AbortSignal,
  ): Promise<{ readonly shown: readonly Seen[]; readonly next: string }>
}

export interface SyncRequest {
  /** Id of a stored filter, or a filter as JSON text. */
  readonly filter?: string
  readonly since?: string
  readonly fullState: boolean
  readonly setPresence: 'offline' | 'online' | 'unavailable'
  readonly timeoutMs: number
  readonly useStateAfter: boolean
  readonly stateAfterName?: StateAfterName
}

export interface SyncNeeds
  extends Omit<
    ComposeNeeds,
    'recent' | 'summaries' | 'sentMembers' | 'position' | 'strippedState'
  > {
  readonly db: Database
  readonly random: Random
  readonly events: ComposeNeeds['events'] & SlidingNeeds['events']
  readonly receipts: ComposeNeeds['receipts'] & SlidingNeeds['receipts']
  readonly threadSubscriptions: SlidingNeeds['threadSubscriptions']
  readonly tail: Pick<Tail, 'position' | 'subscribe' | 'reached' | 'read' | 'oldest'>
  readonly accountData: ComposeNeeds['accountData'] & Pick<AccountData, 'filter'>
  readonly toDevice: ComposeNeeds['toDevice'] & Pick<ToDevice, 'acknowledge'>
  readonly typing: ComposeNeeds['typing'] & Pick<Typing, 'onTyping' | 'stamp'>
  readonly presence: ComposeNeeds['presence'] & Pick<Presence, 'onChange' | 'touch' | 'stamp'>
}

/** How long this process may be behind the token in hand, in ms. */
const reachMs = 10_000
/** How often a waiting device is said to be there still; half of how long presence believes it. */
const touchMs = 15_000

/** Builds the slice; before the tail starts, and after everything that it reads from. */
export function createSync(needs: SyncNeeds): Sync {
  const { tail, clock, typing, presence, toDevice, encryption } = needs
  const parts: ComposeNeeds = {
    ...needs,
    recent: createRecent(needs),
    summaries: createMemberSummaries(needs),
    sentMembers: createSentMembers(),
    position: () => tail.position,
    strippedState: ({ room, user }) => readStrippedState(needs.db, room, user),
  }
  const filters = createFilters(needs.accountData)
  const waiters = createWaiters(needs)
  /** Names this process in tokens. */
  const self = needs.random.text(6)
  const sliding = createSlidingSync({ ...parts, ...needs, waiters, self })

  async function begin({ user, device }: Pick<Asked, 'user' | 'device'>, text: string | undefined) {
    if (text === undefined) return undefined
    const since = readSince(text, self)
    if (!(await tail.reached(since.position, reachMs))) throw tooFarAhead()
    if (device !== undefined && since.toDevice > 0) {
      toDevice.acknowledge(user, device, since.toDevice)
    }
    return since
  }

  const tokenOf = (seen: Since) => writeToken(seen, self, clock.now())

  function here(): Since {
    const { position } = tail
    return { position, toDevice: position, typing: typing.stamp, presence: presence.stamp }
  }

  async function answer(asked: Asked, { parts: found, seen }: Composed): Promise<string> {
    const next = `"next_batch":${JSON.stringify(tokenOf(seen))}`
    return objectOf([next, ...found, await readKeyCounts(encryption, asked)])
  }

  /** Everything, read as fast as it is taken. */
  async function whole(asked: Asked, since: Since | undefined): Promise<AsyncIterable<string>> {
    const stamps = { typing: typing.stamp, presence: presence.stamp }
    const { pieces, seen } = await composeWhole(parts, asked, { since, stamps, hasPresence: true })
    const counts = await readKeyCounts(encryption, asked)
    const next = `{"next_batch":${JSON.stringify(tokenOf(seen))}`
    async function* text(): AsyncGenerator<string> {
      yield next
      yield* pieces
      yield counts === undefined ? '}' : `,${counts}}`
    }
    return coalesced(text())
  }

  /** What is new; nothing is read when the log has brought nothing that concerns the user. */
  async function look(asked: Asked, since: Since, watch: Watch): Promise<Composed> {
    const upTo = tail.position
    const stamps = { typing: typing.stamp, presence: presence.stamp }
    if (!(await watch.hasNews(since, asked.device)) && (await isEmpty(asked, since))) {
      return { parts: [], seen: { ...since, position: upTo, toDevice: upTo } }
    }
    const hasPresence = watch.hasPresence(since)
    return await compose(parts, asked, { since, stamps, hasPresence })
  }

  /** Is there nothing left in the inbox from an answer that could not hold it all. */
  async function isEmpty({ user, device }: Asked, since: Since): Promise<boolean> {
    if (device === undefined || since.toDevice >= since.position) return true
    const range = { after: since.toDevice, upTo: since.position, limit: 1 }
    return (await toDevice.pending(user, device, range)).length === 0
  }

  return {
    ...sliding,
    now: () => tokenOf(here()),
    async peek({ user }, { room, since: text, timeoutMs }, signal) {
      const asked = { user, device: undefined }
      const since = (await begin(asked, text)) ?? here()
      const found = await peek({ ...needs, waiters }, { user, room, since, timeoutMs, signal })
      return { shown: found.shown, next: tokenOf(found.seen) }
    },
    async sync(who, request, signal) {
      const { user, device } = who
      const { timeoutMs, fullState } = request
      const filter = await filters.read(user, request.filter)
      const asked: Asked = { ...request, user, device, filter }
      const deadline = clock.now() + timeoutMs
      const touch = () => presence.touch(who, request.setPresence)
      const stay = request.setPresence === 'offline' ? undefined : { everyMs: touchMs, call: touch }
      touch()
      for (let since = await begin(asked, request.since); ; ) {
        const watch = await waiters.watch(user)
        if (since === undefined || fullState) return await whole(asked, since)
        const found = await look(asked, since, watch)
        const restMs = deadline - clock.now()
        if (restMs <= 0 || signal.aborted || found.parts.length > 0)
          return await answer(asked, found)
        // Up to there is nothing for this client: it goes on from there.
        since = found.seen
        await watch.wait(since, device, restMs, signal, stay)
      }
    },
  }
}
