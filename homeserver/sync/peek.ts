/** What happens in one room, for somebody who need not be in it. {@link https://spec.matrix.org/v1.19/client-server-api/#room-previews} */
import type { RoomId, UserId } from '../../spec/ids.ts'
import type { Events, Seen } from '../events/events.ts'
import type { Clock } from '../platform/clock.ts'
import type { Presence } from '../presence/presence.ts'
import type { Typing } from '../receipts/typing.ts'
import type { Tail } from '../stream/log.ts'
import type { Since } from './request.ts'
import type { Waiters } from './waiters.ts'

export interface Peek {
  readonly user: UserId
  readonly room: RoomId
  readonly since: Since
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Events that are new, oldest first, and what has been seen then. */
export interface Peeked {
  readonly shown: readonly Seen[]
  readonly seen: Since
}

interface Needs {
  readonly clock: Clock
  readonly tail: Pick<Tail, 'position'>
  readonly events: Pick<Events, 'timeline' | 'visibleTo'>
  readonly waiters: Waiters
  readonly typing: Pick<Typing, 'stamp'>
  readonly presence: Pick<Presence, 'stamp'>
}

/** Events of one answer; of more the newest are told. */
const peekedMax = 1_000

/** Resolves when there is something to see, when the time is over and when the signal is aborted. */
export async function peek(
  { clock, tail, events, waiters, typing, presence }: Needs,
  { user, room, since, timeoutMs, signal }: Peek,
): Promise<Peeked> {
  const deadline = clock.now() + timeoutMs
  const watch = await waiters.watch(user)
  watch.enter(room)
  for (let after = since.position; ; ) {
    const upTo = tail.position
    const seen = {
      ...{ position: upTo, toDevice: upTo },
      ...{ typing: typing.stamp, presence: presence.stamp },
    }
    const news = await events.timeline(room, { after, upTo, limit: peekedMax })
    const shown = await events.visibleTo(user, news.events)
    const restMs = deadline - clock.now()
    if (shown.length > 0 || restMs <= 0 || signal.aborted) return { shown, seen }
    after = upTo
    await watch.wait(seen, undefined, restMs, signal)
  }
}
