/** A server made of the reference rules alone: it hears of a history's events in order. */
import type { Pdu } from '../../spec/events/event.ts'
import type { History, Outcome, Verdict } from './history.ts'
import { allows, allowsChoice } from './reference-auth.ts'
import { resolution, type State } from './reference-resolution.ts'

/** What the specification makes of a history. */
export function replayByReference(history: History): Outcome {
  const version = Number(history.version)
  const events = new Map<string, Pdu>()
  const rejected = new Set<string>()
  const after = new Map<string, State>()
  const [create] = history.events
  if (create === undefined) throw new Error('a room begins with an event')
  const outcome = {
    ids: [] as string[],
    verdicts: [] as Verdict[],
    merged: [] as (readonly string[] | null)[],
  }
  const idsOf = (state: State) => [...state.values()].sort()
  const stateOf = (ids: readonly string[]): State =>
    new Map(
      ids.map((id) => {
        const event = events.get(id)
        return [`${event?.type}|${event?.stateKey}`, id]
      }),
    )

  for (const event of history.events) {
    const states = event.prevEvents.map((id) => after.get(id) ?? new Map())
    const before =
      states.length > 1
        ? resolution({ version, create, events, rejected }, states)
        : (states[0] ?? new Map<string, string>())
    const verdict = judge(event, before)
    outcome.ids.push(event.eventId)
    outcome.verdicts.push(verdict)
    outcome.merged.push(states.length > 1 ? idsOf(before) : null)
    events.set(event.eventId, event)
    if (verdict !== 'accept') rejected.add(event.eventId)
    const isNewState = verdict === 'accept' && event.stateKey !== undefined
    const change: [string, string][] = [[`${event.type}|${event.stateKey}`, event.eventId]]
    after.set(event.eventId, new Map([...before, ...(isNewState ? change : [])]))
  }

  function judge(event: Pdu, before: State): Verdict {
    const own = event.authEvents.flatMap((id) => events.get(id) ?? [])
    const isCreate = (type: string) => type === 'm.room.create' && version >= 12
    if (!allowsChoice(event, version, own, ({ eventId }) => rejected.has(eventId))) return 'chain'
    const byOwn = (type: string, stateKey: string) =>
      isCreate(type) ? create : own.find((e) => e.type === type && e.stateKey === stateKey)
    if (!allows(event, version, byOwn)) return 'chain'
    const byState = (type: string, stateKey: string) =>
      events.get(before.get(`${type}|${stateKey}`) ?? '')
    return allows(event, version, byState) ? 'accept' : 'state'
  }

  const answers = history.questions.map(({ sets, missing }) => {
    const left = new Map([...events].filter(([id]) => !missing.some((each) => each === id)))
    const room = { version, create, events: left, rejected }
    return idsOf(resolution(room, sets.map(stateOf)))
  })
  return { ...outcome, answers }
}
