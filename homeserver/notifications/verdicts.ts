import { isUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import { arrayAt, objectAt } from '../../spec/json.ts'
import { evaluate, type PushContext, type PushVerdict } from '../../spec/push/evaluate.ts'
import { mergeRules, noPushRules, type PushRuleset } from '../../spec/push/rules.ts'
import { levelsWithoutEvents, powerLevelsOf } from '../../spec/room/power-levels.ts'
import type { Ignorers } from '../accounts/ignorers.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { threadRootsOf } from '../events/threading.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { PushRules } from './push-rules.ts'
import type { ThreadSubscriptions } from './thread-subscriptions.ts'

/** What the rules say, for the local members of a room as it is now. */
export interface Verdicts {
  readonly members: ReadonlyMap<UserId, Member>
  /** `PushRules.version` up to which the rules of the members are true. */
  version: number
  /** What an event says to a member with the predefined rules whom it does not concern in person. */
  forAll(event: StoredEvent): PushVerdict
  /** To whom it may say something else. */
  apart(event: StoredEvent): ReadonlySet<Member>
  /** Gets at hand what `of` asks about these events where members have rules about threads; nothing where none has. */
  prepare(events: readonly StoredEvent[]): Promise<void>
  of(event: StoredEvent, member: Member): PushVerdict
  /** What it says to somebody who is not in the room: the one who is invited. */
  ofOutsider(event: StoredEvent, user: UserId, rules: PushRuleset): PushVerdict
}

export interface Member {
  readonly user: UserId
  /** Log position at which the membership began. */
  readonly since: number
  readonly context: PushContext
  /** Absent for the predefined rules. */
  readonly rules?: PushRuleset
}

export interface VerdictsNeeds {
  readonly events: Pick<Events, 'rulesOf' | 'currentEntry' | 'get'>
  readonly memberships: Pick<Memberships, 'ofRoom' | 'localJoined' | 'joinedCount'>
  readonly pushRules: Pick<PushRules, 'ruleset' | 'customized' | 'version' | 'changedSince'>
  /** Who ignores whom; fresh whenever verdicts are asked for. */
  readonly ignorers: Ignorers
  /** Who is subscribed to a thread; rules about that match nothing when absent. */
  readonly threadSubscribers?: ThreadSubscriptions['subscribers']
}

/** Stands for every user whom an event does not concern in person. */
const anybody = '@nobody-in-particular:invalid'
const anybodysRules = mergeRules(anybody, noPushRules)
const silence: PushVerdict = { notify: false, highlight: false, actions: [] }
/** Of a room that this server is not in. */
export const nothing: Verdicts = {
  members: new Map(),
  version: -1,
  forAll: () => silence,
  apart: () => new Set(),
  prepare: async () => {},
  of: () => silence,
  ofOutsider: (event, user, rules) =>
    evaluate(rules, event.pdu, { userId: user, memberCount: 0, powerLevels: levelsWithoutEvents }),
}

/** Reads what the rules ask about the room. */
export async function verdictsIn(needs: VerdictsNeeds, room: RoomId): Promise<Verdicts> {
  const { events, memberships, pushRules, ignorers } = needs
  const { version } = pushRules
  const rules = await events.rulesOf(room)
  if (rules === undefined) return nothing
  const create = await events.currentEntry(room, 'm.room.create', '')
  const levels = await events.currentEntry(room, 'm.room.power_levels', '')
  const rows = await memberships.ofRoom(room)
  const powerLevels = powerLevelsOf(rules, create?.pdu, levels?.pdu)
  const memberCount = await memberships.joinedCount(room)
  const context = { userId: anybody, memberCount, powerLevels }
  const users = await memberships.localJoined(room)
  const custom = await pushRules.customized(users)
  const members = new Map<UserId, Member>()
  const customized: Member[] = []
  for (const user of users) {
    const row = rows.get(user)
    if (row?.membership !== 'join') continue
    const member = memberOf(row, context, custom.get(user))
    members.set(user, member)
    if (member.rules !== undefined) customized.push(member)
  }
  const threads = threadsAsked(needs, room, customized)
  return {
    members,
    version,
    prepare: threads.prepare,
    forAll: (event) => evaluate(anybodysRules, event.pdu, context),
    apart: (event) => {
      const ignoring = present(ignorers.of(event.pdu.sender), members)
      return new Set([...customized, ...named(event, members), ...ignoring])
    },
    of: (event, member) => {
      if (ignorers.of(event.pdu.sender).has(member.user)) return silence
      const rules = member.rules ?? predefinedFor(member)
      return evaluate(rules, event.pdu, threads.contextOf(event, member))
    },
    ofOutsider: (event, user, own) => evaluate(own, event.pdu, { ...context, userId: user }),
  }
}

/** Subscriptions to the threads of events, for members who have rules about them. */
function threadsAsked(
  { events, threadSubscribers }: VerdictsNeeds,
  room: RoomId,
  customized: readonly Member[],
) {
  const subscribers = new WeakMap<StoredEvent, ReadonlySet<UserId>>()
  const isAsked = customized.some(({ rules }) => rules?.postcontent.some(({ enabled }) => enabled))
  return {
    async prepare(list: readonly StoredEvent[]): Promise<void> {
      if (!isAsked || threadSubscribers === undefined) return
      const roots = await threadRootsOf(events, list)
      for (const event of list) {
        const root = roots.get(event.pdu.eventId)
        if (root !== undefined) subscribers.set(event, await threadSubscribers(room, root))
      }
    },
    contextOf(event: StoredEvent, { user, context }: Member): PushContext {
      const ofThread = isAsked ? subscribers.get(event) : undefined
      return ofThread === undefined ? context : { ...context, isSubscribed: ofThread.has(user) }
    },
  }
}

function memberOf(
  { user, since, displayName }: MembershipRow,
  room: PushContext,
  rules: PushRuleset | undefined,
): Member {
  const context = { ...room, userId: user, displayName }
  return rules === undefined ? { user, since, context } : { user, since, context, rules }
}

const predefined = new WeakMap<Member, PushRuleset>()

function predefinedFor(member: Member): PushRuleset {
  const rules = predefined.get(member) ?? mergeRules(member.user, noPushRules)
  predefined.set(member, rules)
  return rules
}

/** Whom the predefined rules look for in person: those mentioned, and the one that a member event is about. */
function named({ pdu }: StoredEvent, members: ReadonlyMap<UserId, Member>): Member[] {
  const mentioned = arrayAt(objectAt(pdu.content, 'm.mentions') ?? {}, 'user_ids') ?? []
  const ids = pdu.stateKey === undefined ? mentioned : [...mentioned, pdu.stateKey]
  return present(ids, members)
}

function present(ids: Iterable<unknown>, members: ReadonlyMap<UserId, Member>): Member[] {
  return [...ids].flatMap((id) => (isUserId(id) ? (members.get(id) ?? []) : []))
}
