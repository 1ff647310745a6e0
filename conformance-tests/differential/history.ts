/** What three implementations of the room rules are asked about, and what they answer. */
import fc from 'fast-check'
import type { Pdu } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import { roomVersions } from '../../spec/room/version.ts'

/** A room as a server that hears of everything in this order gets to know it. */
export interface History {
  readonly version: string
  readonly events: readonly Pdu[]
  readonly questions: readonly Question[]
}

/** States to be resolved, some of which no honest server would have. */
export interface Question {
  readonly sets: readonly (readonly EventId[])[]
  /** Events that the server who resolves has never got. */
  readonly missing: readonly EventId[]
  /** Does a state name a rejected event. */
  readonly hasRejected: boolean
}

/** By its own auth events ('chain') and the state before it ('state'), was the event allowed. */
export type Verdict = 'accept' | 'chain' | 'state'

/** What an implementation makes of a history; states are sorted lists of event ids. */
export interface Outcome {
  readonly ids: readonly string[]
  readonly verdicts: readonly Verdict[]
  /** The state before each event that has several predecessors. */
  readonly merged: readonly (readonly string[] | null)[]
  /** The resolution for each question. */
  readonly answers: readonly (readonly string[])[]
}

/** What a history is made from; small, so that a failing one can be made smaller and printed. */
export interface Plan {
  readonly version: string
  readonly setup: Setup
  readonly steps: readonly Step[]
  readonly lies: readonly Lie[]
}

export interface Setup {
  readonly joinRule: string
  /** v12+: is the creator not alone. */
  readonly additionalCreator: boolean
  /** v1–9: write levels as strings. */
  readonly stringLevels: boolean
  /** Does the room have power levels at all. */
  readonly powerLevels: boolean
  readonly inviteLevel: number
}

/** One thing that somebody does, or tries to do, on one branch. */
export interface Step {
  readonly branch: number
  readonly act: (typeof acts)[number]
  readonly actor: number
  readonly target: number
  readonly level: number
  /** Added to the common start; few values, so that times tie. */
  readonly ts: number
  /** What the event says of its depth, where that is not the truth. */
  readonly depth: number | undefined
  /** Which auth events it names: those of its place, or others. */
  readonly auth: 'right' | 'of another place' | 'one too few' | 'one rejected'
  /** Is it sent although it is not allowed. */
  readonly forced: boolean
}

/** How a question departs from the states that a history leads to. */
export interface Lie {
  /** Events after which the states are taken. */
  readonly places: readonly number[]
  readonly changes: readonly {
    readonly set: number
    readonly key: number
    readonly event: number
    readonly drop: boolean
  }[]
  readonly missing: readonly number[]
  /** Does a state have an event that was rejected. */
  readonly rejected: boolean
}

const acts = [
  ...['join', 'join', 'leave', 'kick', 'ban', 'ban', 'invite', 'knock'],
  ...['vouched join', 'vouched join'],
  ...['user level', 'user level', 'no user level', 'named level', 'type level', 'notification'],
  ...['join rule', 'join rule', 'topic', 'topic', 'server acl', 'own state', 'aliases'],
  ...['odd level', 'odd membership', 'no join rule'],
  ...['third-party invite', 'use third-party invite', 'redaction', 'message'],
  ...['fork', 'fork', 'merge', 'merge'],
] as const

const step: fc.Arbitrary<Step> = fc.record({
  branch: fc.nat(5),
  act: fc.constantFrom(...acts),
  actor: fc.nat(5),
  target: fc.nat(5),
  level: fc.nat(6),
  ts: fc.oneof(fc.nat(3), fc.nat(50)),
  depth: mostly(undefined, fc.constantFrom(0, 1, 4, 30, 9_007_199_254_740_991)),
  auth: mostly(
    'right',
    fc.constantFrom('of another place', 'of another place', 'one too few', 'one rejected'),
    3,
  ),
  forced: mostly(false, fc.constant(true), 12),
})

const lie: fc.Arbitrary<Lie> = fc.record({
  places: fc.array(fc.nat(99), { minLength: 2, maxLength: 6 }),
  changes: fc.array(
    fc.record({ set: fc.nat(5), key: fc.nat(30), event: fc.nat(9), drop: fc.boolean() }),
    { maxLength: 4 },
  ),
  missing: mostly([], fc.array(fc.nat(99), { minLength: 1, maxLength: 3 }), 3),
  rejected: mostly(false, fc.constant(true), 3),
})

/** Histories of up to so many steps, in every room version. */
export function plans(stepsMax: number): fc.Arbitrary<Plan> {
  return fc.record({
    // What new rooms are has algorithms of its own.
    version: fc.constantFrom(...roomVersions.keys(), '12', '12', '12'),
    setup: fc.record({
      joinRule: fc.constantFrom('public', 'invite', 'knock', 'restricted', 'knock_restricted'),
      additionalCreator: fc.boolean(),
      stringLevels: fc.boolean(),
      powerLevels: mostly(true, fc.constant(false)),
      inviteLevel: fc.constantFrom(0, 50),
    }),
    steps: fc.array(step, { minLength: 8, maxLength: stepsMax, size: 'max' }),
    lies: fc.array(lie, { minLength: 1, maxLength: 3 }),
  })
}

function mostly<T, U>(usual: T, unusual: fc.Arbitrary<U>, weight = 9): fc.Arbitrary<T | U> {
  return fc.oneof({ weight, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: unusual })
}
