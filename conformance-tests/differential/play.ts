/** Plays a plan: most of what happens is allowed where it happens, so that a resolution has something to do. */
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import { type Pdu, stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, serverOfUser } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import { finishPdu } from '../../spec/room/event-format.ts'
import type { StateMap } from '../../spec/room/resolve.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import { rulesFor } from '../properties/room-builder.ts'
import { alice, bob, carol, type Deed, deedOf, erin, joins, users } from './deeds.ts'
import type { History, Plan, Setup, Step } from './history.ts'
import { questionsOf } from './lies.ts'
import { createReplica, type Replica } from './replica.ts'

/** Branches that a room has at most. */
const branchesMax = 6

/** Who signed an event is no matter of these rules. */
const key: SigningKey = { keyId: 'ed25519:1', publicKey: '', sign: () => '' }

/** A line of events that others may not have heard of. */
interface Branch {
  tips: readonly EventId[]
  depth: number
}

interface Stage {
  readonly rules: RoomVersionRules
  readonly setup: Setup
  readonly replica: Replica
  readonly branches: Branch[]
  readonly events: Pdu[]
}

/** What of a step is about the event's surroundings. */
type Manner = Pick<Step, 'ts' | 'depth' | 'auth' | 'target'>

/** The history that a plan describes; the same plan makes the same history. */
export function play(plan: Plan): History {
  const rules = rulesFor(plan.version)
  const replica = createReplica(rules)
  const stage: Stage = { rules, setup: plan.setup, replica, branches: [], events: [] }
  furnish(stage)
  for (const step of plan.steps) take(stage, step)
  const tips = stage.branches.map((branch) => branch.tips)
  const questions = questionsOf(plan, replica, stage.events, tips)
  return { version: plan.version, events: stage.events, questions }
}

/** The usual beginning: the creator, levels, join rules, and two moderators. Then the room forks. */
function furnish(stage: Stage): void {
  const { rules, setup, branches } = stage
  const main: Branch = { tips: [], depth: 0 }
  const send = (deed: Deed) => add(stage, main, make(stage, main, deed, furnishing))
  const ofRoom = (type: string, content: JsonObject): Deed => ({
    type,
    sender: alice,
    stateKey: '',
    content,
  })
  const more = rules.privilegedCreators && setup.additionalCreator
  const creators = {
    ...(rules.implicitCreator ? {} : { creator: alice }),
    ...(more ? { additional_creators: [erin] } : {}),
  }
  send(ofRoom('m.room.create', { room_version: rules.version, ...creators }))
  send(joins(alice))
  if (setup.powerLevels) {
    const moderators = { [bob]: 50, [carol]: 50 }
    const levels = rules.privilegedCreators ? moderators : { ...moderators, [alice]: 100 }
    const events = { 'm.room.topic': 0 }
    send(ofRoom('m.room.power_levels', { users: levels, events, invite: setup.inviteLevel }))
  }
  send(ofRoom('m.room.join_rules', { join_rule: 'public' }))
  send(joins(bob))
  send(joins(carol))
  if (setup.joinRule !== 'public') {
    send(ofRoom('m.room.join_rules', { join_rule: setup.joinRule }))
  }
  branches.push(main, { ...main })
}

const furnishing: Manner = { ts: 0, depth: undefined, auth: 'right', target: 0 }

function take(stage: Stage, step: Step): void {
  const { branches, replica } = stage
  const branch = branches[step.branch % branches.length]
  if (branch === undefined) return
  if (step.act === 'fork') {
    if (branches.length < branchesMax) branches.push({ ...branch })
    return
  }
  if (step.act === 'merge') merge(branch, branches, step)
  const state = replica.stateBefore(branch.tips)
  const read = (type: string, stateKey: string) => {
    const id = state.get(stateKeyOf(type, stateKey))
    return id === undefined ? undefined : replica.events.get(id)
  }
  // Whoever may do it does it: the one whom the plan names, or somebody else.
  for (let turn = 0; turn < users.length; turn++) {
    const actor = users[(step.actor + turn) % users.length] ?? alice
    const deed = deedOf(step, actor, { ...stage, read })
    if (deed === undefined) return
    const event = make(stage, branch, deed, step)
    const verdict = replica.judge(event)
    // A server that has missed something sends what only its own view allows.
    const isOutdated = step.auth === 'of another place' && verdict === 'state'
    if (step.forced || isOutdated || verdict === 'accept') {
      add(stage, branch, event)
      return
    }
  }
}

/** From here on this branch knows of others as well. */
function merge(branch: Branch, branches: readonly Branch[], { branch: at, target }: Step): void {
  const merged = [branch]
  for (let i = 1; i <= 1 + target; i++) {
    const other = branches[(at + i) % branches.length]
    if (other !== undefined) merged.push(other)
  }
  branch.tips = [...new Set(merged.flatMap(({ tips }) => tips))].slice(0, 20)
  branch.depth = Math.max(...merged.map(({ depth }) => depth))
}

function add({ replica, events }: Stage, branch: Branch, event: Pdu): void {
  // What has the same content, time and place as another is the same event.
  if (replica.events.has(event.eventId)) return
  replica.receive(event)
  events.push(event)
  branch.tips = [event.eventId]
  branch.depth += 1
}

function make(stage: Stage, branch: Branch, deed: Deed, manner: Manner): Pdu {
  const { rules, events } = stage
  const { sender, type, stateKey, content, redacts } = deed
  const [create] = events
  const isPair = rules.eventFormat === 'pair'
  const reference = (id: EventId) => (isPair ? [id, { sha256: '' }] : id)
  const server = serverOfUser(sender)
  const authEvents = create === undefined ? [] : authEventsOf(stage, branch, deed, manner)
  const room = create?.roomId ?? '!room:a.example'
  const isNameless = rules.createHashRoomId && create === undefined
  const json: JsonObject = {
    type,
    sender,
    content,
    depth: manner.depth ?? branch.depth + 1,
    origin_server_ts: 1_000_000 + manner.ts,
    prev_events: branch.tips.map(reference),
    auth_events: authEvents.map(reference),
    ...(stateKey === undefined ? {} : { state_key: stateKey }),
    ...(redacts === undefined ? {} : { redacts }),
    ...(isNameless ? {} : { room_id: room }),
    ...(isPair ? { event_id: `$${events.length}:${server}` } : {}),
  }
  return finishPdu(json, rules, server, key)
}

function authEventsOf(stage: Stage, branch: Branch, deed: Deed, manner: Manner): EventId[] {
  const { replica, rules, events } = stage
  const select = (state: StateMap) =>
    authEventKeys(deed, rules)
      .map((each) => state.get(each))
      .filter((id) => id !== undefined)
  const right = select(replica.stateBefore(branch.tips))
  switch (manner.auth) {
    case 'right':
      return right
    case 'of another place': {
      const at = events[Math.max(0, events.length - 1 - 3 * manner.target - manner.ts)]
      return select((at && replica.after.get(at.eventId)) ?? new Map())
    }
    case 'one too few':
      return right.filter((id, at) => at !== manner.target || id === events[0]?.eventId)
    case 'one rejected': {
      const states = events.filter(({ stateKey }) => stateKey !== undefined)
      const ids = states.map(({ eventId }) => eventId).filter((id) => replica.rejected.has(id))
      const rejected = ids[manner.target % Math.max(1, ids.length)]
      return rejected === undefined ? right : [...right.slice(0, -1), rejected]
    }
    default:
      return manner.auth satisfies never
  }
}
