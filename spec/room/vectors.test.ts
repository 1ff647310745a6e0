import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { rulesFor } from '../../conformance-tests/properties/room-builder.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../events/event.ts'
import { type EventId, eventIdSchema } from '../ids.ts'
import { authorize } from './authorize.ts'
import { parsePdu } from './event-format.ts'
import { resolveState } from './resolve.ts'

const stateSchema = z.array(z.tuple([z.string(), z.string(), eventIdSchema]))
const resolutionSchema = z.object({
  cases: z.array(
    z.object({
      room_version: z.string(),
      events: z.record(z.string(), z.unknown()),
      states: z.array(stateSchema),
      resolved: stateSchema,
    }),
  ),
})
const authSchema = z.object({
  cases: z.array(
    z.object({
      room_version: z.string(),
      state: z.array(z.unknown()),
      events: z.array(z.object({ allowed: z.boolean(), event: z.unknown() })),
    }),
  ),
})

function vectors(name: string): unknown {
  const path = new URL(`../../conformance-tests/vectors/${name}`, import.meta.url)
  return JSON.parse(readFileSync(path, 'utf8'))
}

function mapOf(state: z.output<typeof stateSchema>): Map<StateKey, EventId> {
  return new Map(state.map(([type, stateKey, id]) => [stateKeyOf(type, stateKey), id]))
}

describe('the vectors of state resolution', () => {
  const { cases } = resolutionSchema.parse(vectors('state-resolution.json'))

  it.each(cases.map((each, at) => ({ ...each, at })))('case $at (v$room_version)', (each) => {
    const rules = rulesFor(each.room_version)
    const events = new Map<EventId, Pdu>()
    for (const [id, json] of Object.entries(each.events)) {
      const event = parsePdu(json, rules)
      expect(event.eventId).toBe(id)
      events.set(event.eventId, event)
    }
    const authChain = (ids: Iterable<EventId>): Set<EventId> => {
      const chain = new Set<EventId>()
      const stack = [...ids].flatMap((id) => events.get(id)?.authEvents ?? [])
      for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
        if (chain.has(id)) continue
        chain.add(id)
        stack.push(...(events.get(id)?.authEvents ?? []))
      }
      return chain
    }
    const source = { event: (id: EventId) => events.get(id), isRejected: () => false, authChain }
    const resolved = resolveState(rules, each.states.map(mapOf), source)
    expect(new Map([...resolved].sort())).toEqual(new Map([...mapOf(each.resolved)].sort()))
  })
})

describe('the vectors of the auth rules', () => {
  const { cases } = authSchema.parse(vectors('auth-rules.json'))

  it.each(cases.map((each, at) => ({ ...each, at })))('case $at (v$room_version)', (each) => {
    const rules = rulesFor(each.room_version)
    const state = each.state.map((json) => parsePdu(json, rules))
    const read = (type: string, stateKey: string) =>
      state.find((event) => event.type === type && event.stateKey === stateKey)
    const verdicts = each.events.map(
      ({ event }) => authorize(parsePdu(event, rules), rules, read).kind,
    )
    expect(verdicts).toEqual(each.events.map(({ allowed }) => (allowed ? 'allow' : 'reject')))
  })
})
