import type { RoomId, UserId } from '../../spec/ids.ts'
import { localpartOf } from '../../spec/ids.ts'
import { arrayAt, objectAt, stringAt } from '../../spec/json.ts'
import { evaluate, type PushContext, type PushVerdict } from '../../spec/push/evaluate.ts'
import { mergeRules, noPushRules, type PushRuleset } from '../../spec/push/rules.ts'
import { powerLevelsOf } from '../../spec/room/power-levels.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { PushRules } from './push-rules.ts'

/** What the rules say, for the local members of a room as it is now. */
export interface Verdicts {
  readonly members: ReadonlyMap<UserId, Member>
  /** Evaluates an event for one after the other; what is the same for all is found out once. */
  of(event: StoredEvent): (member: Member) => PushVerdict
}

export interface Member {
  readonly user: UserId
  /** Log position at which the membership began. */
  readonly since: number
  readonly context: PushContext
  /** Rules that are not the predefined ones. */
  readonly rules?: PushRuleset
  /** What a text must contain for the predefined rules to find this user in it; lower case. */
  readonly names: readonly string[]
}

export interface VerdictsNeeds {
  readonly events: Pick<Events, 'rulesOf' | 'currentEntry'>
  readonly memberships: Pick<Memberships, 'ofRoom' | 'localJoined'>
  readonly pushRules: Pick<PushRules, 'ruleset' | 'customized'>
}

/** Stands for every user whom an event does not concern in person. */
const anybody = '@nobody-in-particular:invalid'
const anybodysRules = mergeRules(anybody, noPushRules)
const predefinedRulesets = new WeakMap<Member, PushRuleset>()

/** Reads what the rules ask about the room; `only` narrows it to these users. */
export async function verdictsIn(
  needs: VerdictsNeeds,
  room: RoomId,
  only?: readonly UserId[],
): Promise<Verdicts> {
  const { events, memberships, pushRules } = needs
  const rules = await events.rulesOf(room)
  if (rules === undefined) return { members: new Map(), of: () => () => silence }
  const create = await events.currentEntry(room, 'm.room.create', '')
  const levels = await events.currentEntry(room, 'm.room.power_levels', '')
  const rows = await memberships.ofRoom(room)
  const powerLevels = powerLevelsOf(rules, create?.pdu, levels?.pdu)
  const context = { userId: anybody, memberCount: joinedCount(rows), powerLevels }
  const users = only ?? (await memberships.localJoined(room))
  const custom = await pushRules.customized(users)
  const members = new Map<UserId, Member>()
  for (const user of users) {
    const row = rows.get(user)
    if (row?.membership !== 'join') continue
    members.set(user, memberOf(row, { ...context, userId: user }, custom.get(user)))
  }
  return {
    members,
    of(event) {
      const generic = evaluate(anybodysRules, event.pdu, context)
      const names = namedIn(event)
      return (member) =>
        member.rules === undefined && !names(member)
          ? generic
          : evaluate(member.rules ?? predefinedFor(member), event.pdu, member.context)
    },
  }
}

const silence: PushVerdict = { notify: false, highlight: false, actions: [] }

function joinedCount(rows: ReadonlyMap<UserId, MembershipRow>): number {
  let count = 0
  for (const row of rows.values()) if (row.membership === 'join') count += 1
  return count
}

function memberOf(
  row: MembershipRow,
  context: PushContext,
  rules: PushRuleset | undefined,
): Member {
  const { user, since, displayName } = row
  const names = [localpartOf(user), displayName ?? ''].filter((name) => name !== '')
  return {
    user,
    since,
    context: displayName === undefined ? context : { ...context, displayName },
    names: names.map((name) => name.toLowerCase()),
    ...(rules === undefined ? {} : { rules }),
  }
}

function predefinedFor(member: Member): PushRuleset {
  const rules = predefinedRulesets.get(member) ?? mergeRules(member.user, noPushRules)
  predefinedRulesets.set(member, rules)
  return rules
}

/** May one of the predefined rules that speak of the user in person match? Errs on the side of yes. */
function namedIn({ pdu }: StoredEvent): (member: Member) => boolean {
  const mentioned = new Set<unknown>(
    arrayAt(objectAt(pdu.content, 'm.mentions') ?? {}, 'user_ids') ?? [],
  )
  const text = (stringAt(pdu.content, 'body') ?? '').toLowerCase()
  return ({ user, names }) =>
    pdu.stateKey === user ||
    mentioned.has(user) ||
    (text !== '' && names.some((name) => text.includes(name)))
}
