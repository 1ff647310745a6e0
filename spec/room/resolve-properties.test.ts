/** What holds of every resolution, over histories whose states were also tampered with. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Plan, plans } from '../../conformance-tests/differential/history.ts'
import { play } from '../../conformance-tests/differential/play.ts'
import { createReplica, type Replica } from '../../conformance-tests/differential/replica.ts'
import { rulesFor } from '../../conformance-tests/properties/room-builder.ts'
import type { EventId } from '../ids.ts'

const runs = { numRuns: 150 }

interface Asked {
  readonly replica: Replica
  readonly sets: readonly (readonly EventId[])[]
  answer(sets: readonly (readonly EventId[])[]): Set<EventId>
}

/** The questions at the end of a history. */
function asked(plan: Plan): Asked[] {
  const history = play(plan)
  const replica = createReplica(rulesFor(history.version))
  for (const event of history.events) replica.receive(event)
  return history.questions.map((question) => ({
    replica,
    sets: question.sets,
    answer: (sets) => new Set(replica.answer({ ...question, sets }).values()),
  }))
}

function always(check: (each: Asked, turn: number) => void): void {
  fc.assert(
    fc.property(plans(40), fc.nat(99), (plan, turn) => {
      for (const each of asked(plan)) check(each, turn)
    }),
    runs,
  )
}

describe('a resolution', { timeout: 60_000 }, () => {
  it('does not depend on the order of the states', () => {
    always(({ sets, answer }, turn) => {
      const at = turn % sets.length
      const turned = [...sets.slice(at), ...sets.slice(0, at)]
      expect(answer(turned)).toEqual(answer(sets))
      expect(answer(turned.toReversed())).toEqual(answer(sets))
    })
  })

  it('counts a state once, however often it is there', () => {
    always(({ sets, answer }, turn) => {
      const again = sets[turn % sets.length] ?? []
      expect(answer([...sets, again, again])).toEqual(answer(sets))
    })
  })

  it('of one state with itself is that state', () => {
    always(({ answer, sets }) => {
      const [set = []] = sets
      expect(answer([set, set])).toEqual(new Set(set))
      const result = [...answer(sets)]
      expect(answer([result, result])).toEqual(new Set(result))
    })
  })

  it('keeps what all states have', () => {
    always(({ sets, answer }) => {
      const result = answer(sets)
      for (const id of sets[0] ?? []) {
        if (sets.every((set) => set.includes(id))) expect(result).toContain(id)
      }
    })
  })

  it('has nothing that is neither in a state nor behind one', () => {
    always(({ replica, sets, answer }) => {
      const behind = new Set(sets.flat())
      for (const id of behind)
        for (const next of replica.events.get(id)?.authEvents ?? []) behind.add(next)
      for (const id of answer(sets)) expect(behind).toContain(id)
    })
  })

  it('has one event for each key, and only state', () => {
    always(({ replica, sets, answer }) => {
      const events = [...answer(sets)].map((id) => replica.events.get(id))
      const keys = events.map((event) => `${event?.type} ${event?.stateKey}`)
      expect(new Set(keys).size).toBe(keys.length)
      expect(events.every((event) => event?.stateKey !== undefined)).toBe(true)
    })
  })

  it('brings back nothing that was refused, unless somebody named it as state', () => {
    always(({ replica, sets, answer }) => {
      const named = new Set(sets.flat())
      for (const id of answer(sets)) if (!named.has(id)) expect(replica.rejected).not.toContain(id)
    })
  })
})
