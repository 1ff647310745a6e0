/**
 * Simplified sliding sync: a client says which of its rooms it wants and how much of each, and is told what it has not
 * got of those; what a connection was sent is remembered between its requests.
 * {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4186}
 */
import type { Database } from '../../database/database.ts'
import type { ToDevice } from '../../encryption/to-device.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Presence } from '../../presence/presence.ts'
import type { Typing } from '../../receipts/typing.ts'
import type { Memberships, Requester } from '../../rooms/rooms.ts'
import type { Tail } from '../../stream/log.ts'
import type { Stamps } from '../request.ts'
import type { Waiters, Watch } from '../waiters.ts'
import {
  composeNothing,
  composeSliding,
  type SlidingComposed,
  type SlidingComposeNeeds,
  type SlidingSince,
} from './compose.ts'
import { createConnections } from './connections.ts'
import { createFacts, type FactsNeeds } from './facts.ts'
import { createLastAnswers, rulesOf } from './last-answers.ts'
import { createMemberSummaries } from './member-summaries.ts'
import { readPos, unknownPos, writePos } from './pos.ts'
import type { ConnectionKey } from './queries.ts'
import type { SlidingRequest } from './request.ts'
import { createSentMembers, type Sending } from './sent-members.ts'
import { createThreadNews } from './thread-part.ts'
import { createUserRooms } from './user-rooms.ts'

export interface SlidingSync {
  /** The answer as JSON text; resolves early when the signal is aborted. @throws MatrixError M_UNKNOWN_POS */
  slidingSync(who: Requester, request: SlidingRequest, signal: AbortSignal): Promise<string>
}

export interface SlidingNeeds
  extends Omit<
    SlidingComposeNeeds,
    'summaries' | 'facts' | 'userRooms' | 'threadNews' | 'memberships' | 'tail'
  > {
  readonly db: Database
  readonly events: SlidingComposeNeeds['events'] & FactsNeeds['events']
  readonly clock: Clock
  readonly tail: SlidingComposeNeeds['tail'] & Pick<Tail, 'subscribe'>
  readonly memberships: SlidingComposeNeeds['memberships'] & Pick<Memberships, 'ofRoom'>
  readonly typing: SlidingComposeNeeds['typing'] & Pick<Typing, 'stamp'>
  readonly presence: Pick<Presence, 'touch'>
  readonly toDevice: SlidingComposeNeeds['toDevice'] & Pick<ToDevice, 'acknowledge'>
  readonly waiters: Waiters
  /** Names this process in positions. */
  readonly self: string
}

/** How long this process may be behind the position in hand, in ms. */
const reachMs = 10_000
/** How often a waiting device is said to be there still; half of how long presence believes it. */
const touchMs = 15_000
/** No answer has presence: nobody is woken by it. */
const allPresence = Number.MAX_SAFE_INTEGER

/** What a request starts from. */
interface Start {
  readonly since: SlidingSince
  readonly nr: number
}

/** A request that is being answered. */
interface Asking {
  readonly who: Requester
  readonly request: SlidingRequest
  readonly signal: AbortSignal
  readonly key: ConnectionKey
  /** Of the connection. */
  readonly name: string
  readonly start: Start | undefined
  readonly deadline: number
  readonly sending: Sending
  readonly rules: string
}

/** Builds it; before the tail starts, and after everything that it reads from. */
export function createSlidingSync(needs: SlidingNeeds): SlidingSync {
  const { tail, clock, typing, presence, toDevice, waiters, self } = needs
  const connections = createConnections(needs)
  const sentMembers = createSentMembers()
  const lastAnswers = createLastAnswers()
  const parts: SlidingComposeNeeds = {
    ...needs,
    summaries: createMemberSummaries(needs),
    facts: createFacts(needs),
    userRooms: createUserRooms(needs),
    threadNews: createThreadNews(needs),
  }

  async function begin(key: ConnectionKey, text: string): Promise<Start> {
    const { position, nr, typing: typed } = readPos(text, key, self)
    const sent = await connections.get(key, nr)
    if (!(await tail.reached(position, reachMs))) throw unknownPos()
    return { since: { position, sent, typing: typed }, nr }
  }

  function acknowledge({ user, device }: Requester, { extensions }: SlidingRequest): void {
    const since = extensions.toDevice?.since ?? 0
    if (device !== undefined && since > 0) {
      toDevice.acknowledge(user, device, Math.min(since, tail.position))
    }
  }

  async function answer(
    { key, name, start, rules, sending }: Asking,
    { lists, rooms, extensions, sent, upTo, isSettled }: SlidingComposed,
    stamps: Stamps,
  ): Promise<string> {
    const isKept = sent === start?.since.sent || isNothing(sent, start)
    const nr = isKept ? (start?.nr ?? 0) : await connections.put(key, sent, start?.nr)
    const pos = writePos({ ...stamps, position: upTo, nr }, key, { self, now: clock.now() })
    sending.done(pos)
    const listsText = lists()
    if (isSettled) lastAnswers.note(name, { pos, rules, lists: listsText })
    const head = `"pos":${JSON.stringify(pos)},"lists":${listsText}`
    return `{${head},"rooms":${rooms},"extensions":${extensions}}`
  }

  /** What is new; the rooms are not looked at when the log has brought nothing that concerns the user. */
  async function look(
    asking: Asking,
    since: SlidingSince | undefined,
    lists: string | undefined,
    watch: Watch,
  ): Promise<SlidingComposed> {
    const { who, request, start, sending } = asking
    const upTo = tail.position
    if (since !== undefined && lists !== undefined) {
      const seen = { ...since, presence: allPresence }
      const isQuiet = !(await watch.hasNews(seen, who.device))
      if (isQuiet) return await composeNothing(parts, who, request, since, { upTo, lists })
    }
    const given = { asked: start?.since.position, sending }
    return await composeSliding(parts, who, request, since, given)
  }

  /** Waits until there may be something beyond what was seen, or nobody waits any more. */
  async function wait(
    { who, request, deadline, signal }: Asking,
    since: SlidingSince,
    watch: Watch,
  ): Promise<void> {
    const seen = { ...since, presence: allPresence }
    do {
      const waitMs = Math.min(deadline - clock.now(), touchMs)
      await watch.wait(seen, who.device, waitMs, signal)
      presence.touch(who, request.setPresence)
    } while (!signal.aborted && clock.now() < deadline && !(await watch.hasNews(seen, who.device)))
  }

  async function ask(
    who: Requester,
    request: SlidingRequest,
    signal: AbortSignal,
  ): Promise<Asking> {
    const { user, device = '' } = who
    const key = { user, device, connId: request.connId }
    const name = JSON.stringify([user, device, request.connId])
    const start = request.pos === undefined ? undefined : await begin(key, request.pos)
    const deadline = clock.now() + request.timeoutMs
    const sending = sentMembers.begin(name, request.pos)
    return { who, request, signal, key, name, start, deadline, sending, rules: rulesOf(request) }
  }

  return {
    async slidingSync(who, request, signal) {
      const asking = await ask(who, request, signal)
      const { name, rules, start, deadline } = asking
      presence.touch(who, request.setPresence)
      acknowledge(who, request)
      let lists = lastAnswers.find(name, request.pos, rules)
      for (let since = start?.since; ; ) {
        const watch = await waiters.watch(who.user)
        const stamps = { typing: typing.stamp, presence: 0 }
        const found = await look(asking, since, lists, watch)
        const isDue = since === undefined || deadline <= clock.now() || signal.aborted
        if (isDue || found.hasNews) return await answer(asking, found, stamps)
        // Up to there is nothing for this client: it goes on from there.
        since = { position: found.upTo, sent: found.sent, typing: stamps.typing }
        lists = found.isSettled ? found.lists() : undefined
        await wait(asking, since, watch)
      }
    },
  }
}

/** A connection that asks for no rooms needs no memory. */
function isNothing(
  { rooms, accountData, receipts }: SlidingComposed['sent'],
  start: Start | undefined,
): boolean {
  return start === undefined && rooms.size + accountData.size + receipts.size === 0
}
