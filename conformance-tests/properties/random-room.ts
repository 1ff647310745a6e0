/** Rooms whose history forks and merges by chance, for properties of state resolution. */
import fc from 'fast-check'
import { resolveState, type StateMap } from '../../spec/room/resolve.ts'
import {
  alice,
  type Branch,
  bob,
  carol,
  type Draft,
  dave,
  furnishedRoom,
  joinRules,
  membership,
  powerLevels,
  type Room,
  topic,
} from './room-builder.ts'

/** One thing that happens on one branch. */
export interface Step {
  readonly branch: number
  readonly actor: number
  readonly target: number
  readonly act: (typeof acts)[number]
  readonly level: number
  /** Times are few, so that they tie. */
  readonly ts: number
}

const users = [alice, bob, carol, dave]

const acts = [
  'join',
  'leave',
  'kick',
  'ban',
  'invite',
  'promote',
  'close',
  'open',
  'topic',
  'fork',
  'merge',
  'jump',
] as const

/** Whatever may happen to a room. */
export const steps = (lengthMax: number): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.record({
      branch: fc.nat(3),
      actor: fc.nat(3),
      target: fc.nat(3),
      act: fc.constantFrom(...acts),
      level: fc.constantFrom(0, 25, 50, 75, 100),
      ts: fc.nat(3),
    }),
    { maxLength: lengthMax },
  )

/** The room after the steps, and the states of its branches. Each event is one that its own branch allowed. */
export function play(
  version: string,
  history: readonly Step[],
  ids: 'names' | 'hashes' = 'names',
): { room: Room; states: StateMap[] } {
  const unbounded = furnishedRoom(version).rules.privilegedCreators
  const start = { [bob]: 50, [carol]: 50 }
  const room = furnishedRoom(version, {
    ids,
    joined: [bob, carol],
    levels: {
      users: unbounded ? start : { ...start, [alice]: 100 },
      events: { 'm.room.topic': 0 },
    },
  })
  const branches: Branch[] = [room.main.fork(), room.main.fork()]
  for (const step of history) {
    const branch = branches[step.branch % branches.length]
    if (branch !== undefined) take(step, branch, branches, room)
  }
  return { room, states: branches.map((branch) => new Map(branch.state)) }
}

function take(step: Step, branch: Branch, branches: Branch[], room: Room): void {
  const other = branches[step.target % branches.length]
  switch (step.act) {
    case 'fork':
      if (branches.length < 4) branches.push(branch.fork())
      return
    case 'merge':
      if (other !== undefined)
        branch.adopt(resolveState(room.rules, [branch.state, other.state], room.source))
      return
    case 'jump':
      // A lying or lost server: what it takes for the state is that of another branch.
      if (other !== undefined && step.level === 100) branch.adopt(new Map(other.state))
      return
    default:
      branch.offer({ ...draftOf(step, branch), ts: step.ts })
  }
}

function draftOf(step: Step, branch: Branch): Draft {
  const actor = users[step.actor] ?? alice
  const target = users[step.target] ?? alice
  switch (step.act) {
    case 'join':
    case 'leave':
      return membership(actor, step.act)
    case 'kick':
      return membership(target, 'leave', actor)
    case 'ban':
    case 'invite':
      return membership(target, step.act, actor)
    case 'promote': {
      const now = branch.read('m.room.power_levels', '')?.content ?? {}
      const { users: old = {} } = now
      const levels = Object.entries({
        ...(typeof old === 'object' ? old : {}),
        [target]: step.level,
      })
      return { ...powerLevels({ ...now, users: Object.fromEntries(levels) }), sender: actor }
    }
    case 'close':
    case 'open':
      return { ...joinRules(step.act === 'open' ? 'public' : 'invite'), sender: actor }
    default:
      return topic(`${step.level}`, actor)
  }
}
